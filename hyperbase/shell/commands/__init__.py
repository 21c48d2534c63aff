"""The commands, a module for each kind; ``registry.commands`` loads them."""
