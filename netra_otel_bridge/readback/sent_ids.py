"""Remember which trace of Netra was sent under which id: ids that are not OpenTelemetry's are derived."""

from __future__ import annotations

from netra_otel_bridge.convert import otlp_trace_id

MAX_IDS = 100_000
"""Traces with a derived id that are remembered: the last ones."""


class SentIds:
    """The ids of traces, as they are sent and as Netra has them."""

    def __init__(self) -> None:
        self._of_netra: dict[str, str] = {}

    def sent(self, netra_id: str) -> str:
        """Return the id under which a trace is sent, in 32 hex digits."""
        sent_id = otlp_trace_id(netra_id)
        if sent_id != netra_id:
            if len(self._of_netra) >= MAX_IDS:
                del self._of_netra[next(iter(self._of_netra))]
            self._of_netra[sent_id] = netra_id
        return sent_id

    def netra_id(self, sent_id: str) -> str:
        """Return Netra's id of a trace whose sent id was asked for before."""
        return self._of_netra.get(sent_id, sent_id)
