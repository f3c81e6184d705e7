"""Public import path of the `check` function; its code is in `netra_otel_bridge.bridge.check`."""

from netra_otel_bridge.bridge.check import Check, check

__all__ = ["Check", "check"]
