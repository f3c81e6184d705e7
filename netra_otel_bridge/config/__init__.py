"""Settings: their declarations, their parsers, and the sources they are loaded from."""
