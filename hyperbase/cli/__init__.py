"""The ``hyperbase`` command."""
