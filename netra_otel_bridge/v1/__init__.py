"""The gRPC interface: generated from proto/netra_otel_bridge/v1/bridge.proto by `make proto`."""
