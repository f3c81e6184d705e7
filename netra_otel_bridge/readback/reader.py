"""Define the protocols of readers: `TraceReader` for every store, `FindsTraces` for stores with a search, and `TakesNotes`.

Their own errors are `TraceNotReturned` and `NoSearch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, TracesData

from netra_otel_bridge.core.errors import DestinationMisconfigured, DestinationUnavailable


class TraceNotReturned(DestinationUnavailable):
    """The store has this trace and cannot return it, for example because it is too large; it can return others."""

    retryable = False


class NoSearch(DestinationMisconfigured):
    """The store is there, and its search is switched off."""


class StoreForm(Protocol):
    """Describes what a store keeps of a span, so that what it never keeps is a documented limit and no finding.

    Both methods are pure, and change their argument.
    """

    keeps_all: bool
    """Says that a restored span has the bytes that were sent, so that its checksum alone proves it."""

    def restore(self, traces: TracesData) -> None:
        """Undo what the store is known to do to every span: attributes of its own, and another order."""

    def reduce(self, resource_spans: ResourceSpans, span: Span) -> None:
        """Remove what the store never keeps from an expected or a restored span, its resource and scope."""

    def limits(self) -> tuple[str, ...]:
        """Return a line for each thing that the store never keeps, for the documentation and the report."""


@runtime_checkable
class AddsAttributes(Protocol):
    """The form of a store that adds attributes of its own to some spans."""

    def adds(self, key: str) -> bool:
        """Return whether an attribute of this name that was not sent is the store's own, and no difference."""


@runtime_checkable
class TakesValuesAsEqual(Protocol):
    """The form of a store that keeps some values of attributes in another type."""

    def same(self, expected: AnyValue, returned: AnyValue) -> bool:
        """Return whether the store keeps ``expected`` as ``returned``, of another type, which is no difference."""


class TraceReader(Protocol):
    """Reads traces back from one store.

    Each method waits and asks again while the store is busy (429, 503), within its own deadline. It raises a
    `DestinationError` if the store cannot be asked: that is never an empty result.
    """

    @property
    def store(self) -> str:
        """Return the kind of store: ``jaeger``, ``tempo``, ``phoenix``, ``otlp-file``, or the name of a user's own."""

    @property
    def at(self) -> str:
        """Return the address as a message may show it, without credentials."""

    @property
    def form(self) -> StoreForm:
        """Return what this store keeps."""

    @property
    def concurrency(self) -> int:
        """Return how many traces may be read at once."""

    @property
    def calls(self) -> int:
        """Return the number of requests so far."""

    async def read(self, trace_id: str, start_ns: int) -> bytes:
        """Return all that the store has of a trace as the protobuf of ``TracesData``, which may be several, joined.

        ``trace_id`` has 32 hex digits. ``start_ns`` is when the trace starts, for stores that look faster near a time.
        Return ``b""`` if the store has no such trace.
        """

    async def aclose(self) -> None:
        """Close the connections."""


@runtime_checkable
class FindsTraces(Protocol):
    """A reader of a store whose pages search for traces."""

    @property
    def finds_whole_traces(self) -> bool:
        """Return whether a search transfers the traces that it shows, so that narrow ranges cost less than a wide one."""

    async def find(self, service: str, start_ns: int, end_ns: int) -> set[str] | None:
        """Return the ids of the traces that a search for a service and a time range shows.

        ``None`` means that there are more than one search shows. Raises the same errors as `TraceReader.read`, and
        `NoSearch`.
        """


@runtime_checkable
class TakesNotes(Protocol):
    """A reader of a store that may say of a trace that it did not find all of it."""

    @property
    def notes(self) -> Sequence[str]:
        """Return a line for each such thing, for the report."""
