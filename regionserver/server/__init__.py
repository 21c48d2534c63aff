"""The region server's role: serves the regions that an engine has open to clients over the wire."""
