"""Deliver batches of spans to a destination, which returns an `Outcome` for each.

A name is imported from its module when it is first used: the gRPC and HTTP clients are slow to import, and a command
that only names destinations needs neither.
"""

from typing import TYPE_CHECKING

from netra_otel_bridge.core.names_on_use import names_on_use

if TYPE_CHECKING:
    from netra_otel_bridge.deliver.adapters.callback import SpanCallback
    from netra_otel_bridge.deliver.adapters.exporter import ExporterDestination
    from netra_otel_bridge.deliver.adapters.from_object import (
        Named,
        To,
        check_names,
        check_passed_once,
        destination_from,
    )
    from netra_otel_bridge.deliver.batch_answer import Answer, Dead
    from netra_otel_bridge.deliver.batching import Batch, Batcher, Item, batch_items, batch_of
    from netra_otel_bridge.deliver.dead_letter import dead_letter_of, span_of
    from netra_otel_bridge.deliver.destination import open_async, open_destination
    from netra_otel_bridge.deliver.names import DestinationSpec, identity, parse_destination
    from netra_otel_bridge.deliver.otlp.carrier import carrier_checksum
    from netra_otel_bridge.deliver.otlp.encode import checksum, encode_span, ids_of
    from netra_otel_bridge.deliver.probe import ProbeResult
    from netra_otel_bridge.deliver.protocols import Destination
    from netra_otel_bridge.deliver.sender import KeepsFailing, Sender
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
    "KeepsFailing",
    "Named",
    "ProbeResult",
    "Sender",
    "SpanCallback",
    "To",
    "batch_items",
    "batch_of",
    "carrier_checksum",
    "check_names",
    "check_passed_once",
    "checksum",
    "dead_letter_of",
    "destination_from",
    "encode_span",
    "identity",
    "ids_of",
    "open_async",
    "open_destination",
    "parse_destination",
    "span_of",
    "trimmed_to",
]

_NAMES = {
    "adapters.callback": "SpanCallback",
    "adapters.exporter": "ExporterDestination",
    "adapters.from_object": "Named To check_names check_passed_once destination_from",
    "batch_answer": "Answer Dead",
    "batching": "Batch Batcher Item batch_items batch_of",
    "dead_letter": "dead_letter_of span_of",
    "destination": "open_async open_destination",
    "names": "DestinationSpec identity parse_destination",
    "otlp.carrier": "carrier_checksum",
    "otlp.encode": "checksum encode_span ids_of",
    "probe": "ProbeResult",
    "protocols": "Destination",
    "sender": "KeepsFailing Sender",
    "trim": "trimmed_to",
}
"""The names of ``__all__`` by the module that defines them; relative to this package."""

if not TYPE_CHECKING:  # hidden from type checkers, which would otherwise accept every name
    __getattr__ = names_on_use(__name__, _NAMES)
