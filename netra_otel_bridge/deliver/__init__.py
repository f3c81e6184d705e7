"""Deliver batches of spans to a destination, which returns an `Outcome` for each."""

from netra_otel_bridge.deliver.adapters.callback import SpanCallback
from netra_otel_bridge.deliver.adapters.exporter import ExporterDestination
from netra_otel_bridge.deliver.adapters.from_object import (
    Named,
    To,
    check_names,
    check_passed_once,
    destination_from,
)
from netra_otel_bridge.deliver.batching import Batch, Batcher, Item, batch_items, batch_of
from netra_otel_bridge.deliver.dead_letter import dead_letter_of, span_of
from netra_otel_bridge.deliver.destination import (
    Destination,
    DestinationSpec,
    identity,
    open_async,
    open_destination,
    parse_destination,
)
from netra_otel_bridge.deliver.otlp.encode import encode_span
from netra_otel_bridge.deliver.probe import ProbeResult, probe
from netra_otel_bridge.deliver.sender import Answer, Dead, Sender
from netra_otel_bridge.deliver.trim import trimmed_to

__all__ = [
    "Answer",
    "Batch",
    "Batcher",
    "Dead",
    "Destination",
    "DestinationSpec",
    "ExporterDestination",
    "Item",
    "Named",
    "ProbeResult",
    "Sender",
    "SpanCallback",
    "To",
    "batch_items",
    "batch_of",
    "check_names",
    "check_passed_once",
    "dead_letter_of",
    "destination_from",
    "encode_span",
    "identity",
    "open_async",
    "open_destination",
    "parse_destination",
    "probe",
    "span_of",
    "trimmed_to",
]
