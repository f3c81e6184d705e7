"""What type checkers see of `netra_otel_bridge.check`, an alias of the module that these names come from."""

from netra_otel_bridge.bridge.check import Check, check

__all__ = ["Check", "check"]
