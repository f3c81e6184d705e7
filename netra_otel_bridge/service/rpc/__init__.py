"""The bridge over gRPC, as `proto/netra_otel_bridge/v1/bridge.proto` describes it."""
