"""Define the protocols of destinations: `Destination`, `AnswersEmpty`, `Inspects`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from netra_otel_bridge.core.model.outcome import Inspection, Outcome, SpanBatch


class Destination(Protocol):
    """Accepts batches of spans. It may also implement `AnswersEmpty` and `Inspects`.

    `send` returns an `Outcome` for everything that the destination does; it raises a `BridgeError` only where
    continuing would be unsafe (a full disk). Batches that are sent at the same time may be handled one by one or
    concurrently. `aclose` may be called twice; after it, nothing is sent.
    """

    @property
    def name(self) -> str:
        """Return the name of the destination in the state, in metrics and in messages."""

    async def send(self, batch: SpanBatch) -> Outcome:
        """Deliver one batch."""

    async def aclose(self) -> None:
        """Release threads, connections and files within seconds."""


@runtime_checkable
class AnswersEmpty(Protocol):
    """A destination whose server answers a request without spans as it answers any other.

    With such requests, `check` tests whether it is reachable and accepts the credentials, and how large requests may
    be, and `Sender` tests whether a connection is cut only for the size of a batch.
    """

    async def send_empty(self, size_bytes: int) -> Outcome:
        """Send a request without spans, of about ``size_bytes`` and no more; 0 sends the smallest possible one."""


@runtime_checkable
class Inspects(Protocol):
    """A destination that can tell, without being sent anything, whether it would accept spans. A file is one."""

    async def inspect(self) -> Inspection:
        """Inspect the destination without changing it. Raises a `BridgeError` if spans would not be accepted."""
