"""The generator of a system."""
