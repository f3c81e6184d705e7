"""The version of the bridge."""

__version__ = "0.1.0"
