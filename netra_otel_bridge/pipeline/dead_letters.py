"""Dead letters, sent again: what is delivered now is one no longer, what is refused again stays."""

from __future__ import annotations

import asyncio

from netra_otel_bridge.core.model.outcome import SpanBatch
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.deliver import Answer, Batcher, Sender, encode_span, span_of
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.pipeline.watch import LaneOptions, LaneWatch, lane_error

PAGE = 100


async def resend(sender: Sender, progress: Recorder, options: LaneOptions, watch: LaneWatch) -> LaneReport:
    """Send all dead letters of a lane that are spans, each once: all of them were refused before. Errors end up in ``report.error``."""
    report = LaneReport(watch.name)
    sender.stops_when_refused = False
    batcher = Batcher(options.batch_spans, options.batch_bytes)
    waiting: list[int] = []

    async def send(batch: SpanBatch | None) -> None:
        if batch is None:
            return
        ids, waiting[:] = waiting[: len(batch.spans)], waiting[len(batch.spans) :]
        answer = Answer()
        try:
            await sender.send(batch, answer)
        finally:
            still_dead = {id(dead.span) for dead in answer.dead}
            taken = {id(span) for span in answer.answered} - still_dead
            progress.resolved(letter_id for letter_id, span in zip(ids, batch.spans, strict=True) if id(span) in taken)
            progress.answered([], answer.delivered, answer.refused, answer.size_bytes)
            report.delivered += answer.delivered
            report.bytes += answer.size_bytes
            report.refused += answer.refused
            report.dead_lettered += len(answer.dead)
            for problem in answer.problems:
                report.note(problem)
            await progress.flush()
            watch.grew(report)

    try:
        last_id = 0
        while letters := progress.lane.dead_letters(last_id, PAGE):
            last_id = letters[-1].id
            for stored in letters:
                if stored.letter.is_span:
                    span = span_of(stored.letter)
                    report.spans += 1
                    batch = batcher.add(span, encode_span(span))
                    waiting.append(stored.id)
                    await send(batch)
        await send(batcher.flush())
    except Exception as error:  # noqa: BLE001  what ends one lane ends no other
        report.error = lane_error(error, watch)
    except asyncio.CancelledError:
        await progress.flush()
        raise
    return report
