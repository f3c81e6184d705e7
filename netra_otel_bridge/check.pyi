"""Names that type checkers see in `netra_otel_bridge.check`, an alias of the module that defines them."""

from netra_otel_bridge.bridge.check import Check, check

__all__ = ["Check", "check"]
