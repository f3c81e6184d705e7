"""SERVE: the bridge over gRPC, as `proto/netra_otel_bridge/v1/bridge.proto` describes it."""

from netra_otel_bridge.service.rpc.server import RpcServer, is_wanted

__all__ = ["RpcServer", "is_wanted"]
