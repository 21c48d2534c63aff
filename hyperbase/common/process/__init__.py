"""What every server process has in common, whatever its role."""
