"""Decide from the settings alone, without loading gRPC, whether the gRPC service runs."""

from __future__ import annotations

from netra_otel_bridge.config.settings import Settings
from netra_otel_bridge.core.errors import ConfigurationError


def is_enabled(settings: Settings) -> bool:
    """Return whether callers can authenticate: with a token, or with certificates of a client CA.

    Raises `ConfigurationError` if other gRPC settings are given and neither of these.
    """
    if settings.grpc_token is not None or settings.grpc_client_ca is not None:
        return True
    for name in ("grpc_host", "grpc_port", "grpc_certificate", "grpc_key", "grpc_reflection"):
        if settings.origins.get(name, "default") != "default":
            raise ConfigurationError(
                f"{settings.origins[name]}: {name} is set, but neither grpc_token nor grpc_client_ca is",
                hint="set NETRA_BRIDGE_GRPC_TOKEN to the token that callers must send",
            )
    return False
