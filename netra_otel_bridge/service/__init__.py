"""The service behind ``run``: it follows live traffic and serves health, metrics and gRPC."""
