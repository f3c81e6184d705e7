"""A `SpanProcessor` of the caller's own as a destination: each span goes to ``on_end``, as a tracer's would."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from netra_otel_bridge.core.model.outcome import Delivered, Outcome, Refused, Retry, SpanBatch
from netra_otel_bridge.deliver.adapters.callback import raised_outcome, unobserved
from netra_otel_bridge.deliver.adapters.worker_thread import OneAtATime, StillRunning
from netra_otel_bridge.deliver.answers import Verdict, outcome, raised

FLUSH_MILLIS = 30_000
SLICE_SPANS = 64
"""How many spans go to ``on_end`` before a flush, where the processor's queue is not known to be shorter."""


class ProcessorDestination:
    """Hands the spans of a batch to a processor one by one, and flushes it after each slice, on a thread of its own.

    - `Delivered` is a batch that the processor took and flushed. What its exporter answered, a processor does not say:
      ``BatchSpanProcessor`` drops what it has no room for, and drops what the exporter refuses. A slice is `SLICE_SPANS`
      spans, or as many as its ``max_queue_size`` where that is less.
    - A span for which ``on_end`` raises is `Refused`, unless the exception is about the connection (`raised_outcome`).
      Whatever part of the batch comes again, no span goes to ``on_end`` twice.
    - A ``force_flush`` that answers ``False`` or raises is `Retry`: only the flush is done again. Not to answer within
      ``deadline_s`` is `Retry` too; the same batch then takes the answer of that call.

    A processor of the SDK's that was shut down is `Misconfigured`. The processor is never shut down: its owner goes on using it.
    """

    def __init__(self, name: str, processor: SpanProcessor, deadline_s: float = 60.0) -> None:
        self.name = name
        self._processor = processor
        self._deadline_s = deadline_s
        self._calls: OneAtATime[Outcome] = OneAtATime(f"on_end {name}")
        self._batch: Sequence[ReadableSpan] = ()
        self._answers: dict[int, Refused | None] = {}
        """Of the spans of ``_batch`` that ``on_end`` was called with, by ``id``."""
        self._unflushed = 0
        self._closed = False

    async def send(self, batch: SpanBatch) -> Outcome:
        """Hand one batch over and say what became of it. Never raises for what the processor does."""
        if self._closed:
            raise RuntimeError(f"the destination {self.name} is closed")
        try:
            return await self._calls.call(batch.spans, lambda: self._take(batch.spans), self._deadline_s)
        except StillRunning:
            return Retry(f"the processor did not answer in {self._deadline_s:g} s")

    async def aclose(self) -> None:
        """Let the thread end; every batch was flushed when it was answered."""
        self._closed = True
        self._calls.close()

    def _take(self, spans: Sequence[ReadableSpan]) -> Outcome:
        if _is_shut_down(self._processor):
            return outcome(Verdict.MISCONFIGURED, "the processor is shut down")
        known = set(map(id, self._batch))
        if not all(id(span) in known for span in spans):
            self._batch, self._answers = spans, {}
        slice_spans = min(SLICE_SPANS, _room(self._processor))
        with unobserved():
            for span in spans:
                if id(span) not in self._answers:
                    if self._unflushed >= slice_spans and not isinstance(flushed := self._flush(), Delivered):
                        return flushed
                    self._unflushed += 1
                    answer = self._end(span)
                    if not isinstance(answer, Refused | None):
                        return answer
                    self._answers[id(span)] = answer
            return next((answer for span in spans if (answer := self._answers[id(span)])), None) or self._flush()

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
            return outcome(Verdict.RETRY, f"the processor's force_flush raised {raised(error)}")
        if flushed is False:
            return Retry("the processor's force_flush answered False")
        self._unflushed = 0
        return Delivered()


def _is_shut_down(processor: SpanProcessor) -> bool:
    """Whether one of the SDK's, or what exports for it, is known to drop what it gets: ``on_end`` does not say so."""
    parts = getattr(processor, "_span_processors", ())
    if isinstance(parts, tuple) and any(map(_is_shut_down, parts)):
        return True
    batches, exporter = getattr(processor, "_batch_processor", None), getattr(processor, "span_exporter", None)
    return any(
        getattr(one, flag, None) is True for one in (processor, batches, exporter) for flag in ("_shutdown", "_stopped")
    )


def _room(processor: SpanProcessor) -> int:
    """How many spans the queue of a ``BatchSpanProcessor`` holds, the shortest one of several; else `SLICE_SPANS`."""
    parts = getattr(processor, "_span_processors", ())
    sizes = [_room(one) for one in parts] if isinstance(parts, tuple) else []
    size = getattr(getattr(processor, "_batch_processor", processor), "_max_queue_size", None)
    return max(1, min([*sizes, size if isinstance(size, int) else SLICE_SPANS]))
