"""What clients, servers and the embedded store share: data model, errors, filters, descriptors, settings."""
