"""Public path of what the command ``check`` tests. The code is in `netra_otel_bridge.bridge.check`."""

from netra_otel_bridge.bridge.check import Check, check

__all__ = ["Check", "check"]
