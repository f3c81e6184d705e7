"""The library: replay, follow, check."""
