"""SEND: batches of spans to a destination, each answered with an `Outcome`."""

from netra_otel_bridge.deliver.adapters.callback import SpanCallback
from netra_otel_bridge.deliver.adapters.exporter import ExporterDestination
from netra_otel_bridge.deliver.adapters.from_object import (
    Named,
    To,
    check_handed_in_once,
    check_names,
    own_destination,
)
from netra_otel_bridge.deliver.answers import raised
from netra_otel_bridge.deliver.batching import Batch, Batcher, Item, batch_items, batch_of
from netra_otel_bridge.deliver.dead_letter import letter, span_of
from netra_otel_bridge.deliver.destination import (
    Destination,
    DestinationSpec,
    identity,
    open_destination,
    opened,
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
    "check_handed_in_once",
    "check_names",
    "encode_span",
    "identity",
    "letter",
    "open_destination",
    "opened",
    "own_destination",
    "parse_destination",
    "probe",
    "raised",
    "span_of",
    "trimmed_to",
]
