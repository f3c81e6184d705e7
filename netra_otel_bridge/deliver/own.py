"""What a caller hands in as a destination, and the adapter for each kind."""

from __future__ import annotations

from functools import partial
from typing import cast

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from netra_otel_bridge.deliver.callback import CallbackDestination, SpanCallback
from netra_otel_bridge.deliver.destination import Destination
from netra_otel_bridge.deliver.exporter import ExporterDestination
from netra_otel_bridge.deliver.processor import ProcessorDestination
from netra_otel_bridge.errors import UsageError

To = str | SpanExporter | SpanProcessor | SpanCallback | Destination
"""Where spans go: a ``DEST`` of the command line, an exporter, a processor or a function of one's own, a `Destination`."""


def own_destination(given: SpanExporter | SpanProcessor | SpanCallback | Destination) -> Destination:
    """An adapter for what a caller handed in; a `Destination` is none's, and stays the caller's to close.

    It is called after the class, or the function. Raises `UsageError` for what is nothing of the kind.
    """
    if isinstance(given, type):
        raise UsageError(f"{given.__name__} is a class", hint=f"hand in one of its instances: {given.__name__}(...)")
    name = type(given).__name__
    if hasattr(given, "export"):
        return ExporterDestination(name, cast(SpanExporter, given), shut_down=False)
    if hasattr(given, "on_end"):
        return ProcessorDestination(name, cast(SpanProcessor, given))
    if hasattr(given, "send"):
        return cast(Destination, given)
    if callable(given):
        return CallbackDestination(_name_of(given), given)
    raise UsageError(
        f"an object of type {name} takes no spans",
        hint="hand in a DEST, a SpanExporter, a SpanProcessor, a function that takes spans, or a Destination",
    )


def _name_of(callback: SpanCallback) -> str:
    """A function's own name, with its class where it is a method; else the class of what can be called."""
    while isinstance(callback, partial):
        callback = callback.func
    name: str = getattr(callback, "__qualname__", type(callback).__name__)
    return name.rpartition("<locals>.")[2]
