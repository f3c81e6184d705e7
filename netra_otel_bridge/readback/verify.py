"""Verify one store: read every expected trace back, and account for each of its spans."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.model.readback import Kind, StoreReport
from netra_otel_bridge.readback.expected import ExpectedSpans, SentSpans
from netra_otel_bridge.readback.reader import TraceReader


class VerifyProgress(NamedTuple):
    """How far a verification is.

    ``traces`` and ``spans`` are accounted for, ``intact`` of the spans are intact. ``waiting`` traces lack spans, and
    are read again until the store had its time. ``looked_for`` is how many traces were searched for.
    """

    name: str
    traces: int
    spans: int
    intact: int
    waiting: int
    looked_for: int


OnProgress = Callable[[VerifyProgress], None]
OnVerdict = Callable[[str, int, Kind], None]
"""Called with the trace id, the span id and the kind of each span that is not intact, or that is counted beside the sum."""


async def verify_store(
    reader: TraceReader,
    expected: ExpectedSpans,
    sent: SentSpans | None,
    *,
    name: str,
    clock: Clock,
    search: bool = True,
    on_progress: OnProgress | None = None,
    on_verdict: OnVerdict | None = None,
) -> StoreReport:
    """Account for every span of ``expected`` in the store that ``reader`` reads; never closes the reader.

    A `BridgeError` of the reader or of ``expected`` becomes ``StoreReport.error``, and counts cover what was asked about
    until then. Without ``sent``, spans that differ are ``changed``, and their findings do not say how. With ``search``,
    traces that are stored are also searched for, if the reader is a `FindsTraces`. Memory does not grow with the range.
    """
    raise NotImplementedError
