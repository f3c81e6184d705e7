"""Values that cross a border between rooms."""
