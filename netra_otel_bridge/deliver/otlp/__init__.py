"""OTLP: the client, its settings, the encoding, JSON and files."""
