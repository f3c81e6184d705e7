"""OTLP: the client, its settings, encoding as protobuf and JSON, and files."""
