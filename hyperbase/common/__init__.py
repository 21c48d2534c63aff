"""What clients, servers and the embedded store share: the data model, errors, filters, descriptors, configuration."""
