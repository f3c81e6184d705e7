"""SEND: batches of spans to a destination, each answered with an `Outcome`."""

from netra_otel_bridge.deliver.batching import Batcher, batch_of, span_size_bytes
from netra_otel_bridge.deliver.destination import Destination, DestinationSpec, open_destination, parse_destination
from netra_otel_bridge.deliver.exporter import ExporterDestination
from netra_otel_bridge.deliver.sender import Sender

__all__ = [
    "Batcher",
    "Destination",
    "DestinationSpec",
    "ExporterDestination",
    "Sender",
    "batch_of",
    "open_destination",
    "parse_destination",
    "span_size_bytes",
]
