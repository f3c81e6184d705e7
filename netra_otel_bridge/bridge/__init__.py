"""The library: replay, follow and check."""
