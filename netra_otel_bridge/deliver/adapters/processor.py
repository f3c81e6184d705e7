"""A `SpanProcessor` as a destination: each span is passed to ``on_end``, as a tracer does."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from netra_otel_bridge.core.model.outcome import Delivered, Outcome, Refused, Retry, SpanBatch
from netra_otel_bridge.core.outside_text import error_words
from netra_otel_bridge.deliver.adapters.callback import raised_outcome, without_instrumentation
from netra_otel_bridge.deliver.adapters.worker_thread import OneAtATime, StillRunning
from netra_otel_bridge.deliver.answers import Verdict, no_answer, outcome, shown

FLUSH_MILLIS = 30_000
SLICE_SPANS = 64
"""Spans that go to ``on_end`` before a flush, unless the queue of the processor is known to be shorter."""


class ProcessorDestination:
    """Passes the spans of a batch to a processor one by one, and flushes it after each slice, on a thread of its own.

    - `Delivered` is a batch that the processor accepted and flushed. A processor does not report the result of its
      exporter: ``BatchSpanProcessor`` drops spans that it has no room for, and spans that the exporter rejects. A slice
      is `SLICE_SPANS` spans, or its ``max_queue_size`` if that is less.
    - A span for which ``on_end`` raises is `Refused`, unless the exception is about the connection (`raised_outcome`).
      No span goes to ``on_end`` twice, whatever part of the batch is sent again.
    - If ``force_flush`` returns ``False`` or raises, that is `Retry`, and only the flush is repeated. A call that does
      not return within ``deadline_s`` is `Retry` too; its answer counts when the same batch is sent again.

    A processor of the SDK that was shut down is `Misconfigured`. The bridge never shuts the processor down, because its
    owner still uses it.
    """

    def __init__(self, name: str, processor: SpanProcessor, deadline_s: float = 60.0) -> None:
        self.name = name
        self._processor = processor
        self._deadline_s = deadline_s
        self._calls: OneAtATime[Outcome] = OneAtATime(f"on_end {name}")
        self._batch: frozenset[ReadableSpan] = frozenset()
        self._answers: dict[ReadableSpan, Refused | None] = {}
        """The answers of ``on_end`` for spans of ``_batch``. Two spans are the same only if they are one object."""
        self._unflushed = 0
        self._closed = False

    async def send(self, batch: SpanBatch) -> Outcome:
        """Pass one batch on and return the outcome. Never raises, whatever the processor does."""
        if self._closed:
            raise RuntimeError(f"the destination {self.name} is closed")
        try:
            return shown(await self._calls.call(batch.spans, lambda: self._take(batch.spans), self._deadline_s))
        except StillRunning:
            return no_answer("the processor did not return", self._deadline_s)

    async def aclose(self) -> None:
        """Let the thread end: every batch was flushed when it was answered."""
        self._closed = True
        self._calls.close()

    def _take(self, spans: Sequence[ReadableSpan]) -> Outcome:
        if _is_shut_down(self._processor):
            return outcome(Verdict.MISCONFIGURED, "the processor is shut down")
        if not self._batch.issuperset(spans):
            self._batch, self._answers = frozenset(spans), {}
        slice_spans = min(SLICE_SPANS, _room(self._processor))
        with without_instrumentation():
            for span in spans:
                if span not in self._answers:
                    if self._unflushed >= slice_spans and not isinstance(flushed := self._flush(), Delivered):
                        return flushed
                    self._unflushed += 1
                    answer = self._end(span)
                    if not isinstance(answer, Refused | None):
                        return answer
                    self._answers[span] = answer
            return next((answer for span in spans if (answer := self._answers[span])), None) or self._flush()

    def _end(self, span: ReadableSpan) -> Outcome | None:
        try:
            self._processor.on_end(span)
        except BaseException as error:  # noqa: BLE001  the wall around foreign code, `SystemExit` included
            return raised_outcome(error, "the processor")
        return None

    def _flush(self) -> Outcome:
        try:
            flushed: object = self._processor.force_flush(FLUSH_MILLIS)
        except BaseException as error:  # noqa: BLE001  the wall around foreign code
            return outcome(Verdict.RETRY, f"the processor's force_flush raised {error_words(error)}")
        if flushed is False:
            return Retry("the processor's force_flush returned False")
        self._unflushed = 0
        return Delivered()


def _is_shut_down(processor: SpanProcessor) -> bool:
    """Return whether a processor of the SDK, or its exporter, drops every span because it was shut down."""
    parts = getattr(processor, "_span_processors", ())
    if isinstance(parts, tuple) and any(map(_is_shut_down, parts)):
        return True
    batches, exporter = getattr(processor, "_batch_processor", None), getattr(processor, "span_exporter", None)
    return any(
        getattr(one, flag, None) is True for one in (processor, batches, exporter) for flag in ("_shutdown", "_stopped")
    )


def _room(processor: SpanProcessor) -> int:
    """Return the size of the queue of a ``BatchSpanProcessor``, the shortest one of several, else `SLICE_SPANS`."""
    parts = getattr(processor, "_span_processors", ())
    sizes = [_room(one) for one in parts] if isinstance(parts, tuple) else []
    size = getattr(getattr(processor, "_batch_processor", processor), "_max_queue_size", None)
    return max(1, min([*sizes, size if isinstance(size, int) else SLICE_SPANS]))
