"""Keep undeliverable spans as dead letters, report missing traces and unreadable items, and send dead letters again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

from netra_otel_bridge.core.model.netra import UnreadableItem
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import TraceRecord
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.deliver import Answer, Batch, Batcher, Item, encode_span, span_of
from netra_otel_bridge.pipeline.digests import DIGEST_BYTES
from netra_otel_bridge.pipeline.in_flight import Pass
from netra_otel_bridge.pipeline.route import Route
from netra_otel_bridge.pipeline.watch import lane_error

PAGE = 100
"""Number of dead letters that are read from the state at once."""


class Unreadable(NamedTuple):
    """An item of a page that is not a trace or span.

    It has the line that reports it, and the key under which it is recorded.
    """

    item: UnreadableItem
    problem: str
    key: str


def new_unreadable(
    trace_id: str, items: Iterable[UnreadableItem], is_known: Callable[[str], bool]
) -> Iterator[Unreadable]:
    """Yield the items whose keys are not known yet.

    ``trace_id`` is "" for items of the trace list. The key of such an item does not depend on its position in the list.
    """
    where = f"trace {trace_id}" if trace_id else "trace list"
    for item in items:
        position = f"{trace_id} {item.path}" if trace_id else ""
        key = "unreadable " + blake2b(f"{position} {item.json}".encode(), digest_size=16).hexdigest()
        if not is_known(key):
            yield Unreadable(item, f"{where}: {item.path} cannot be read: {item.reason}", key)


def note_unreadable(lane_pass: Pass, trace_id: str, items: Sequence[UnreadableItem]) -> None:
    """Report items that are not traces or spans, and keep them as dead letters: once, however often listed."""
    recorder = lane_pass.route.recorder
    for item, problem, key in new_unreadable(trace_id, items, lambda key: bool(recorder.known([key]))):
        lane_pass.report.unreadable += 1
        lane_pass.report.note(problem)
        recorder.answered([TraceRecord(key, 0, key.encode()[-DIGEST_BYTES:], b"")], 0, 0, 0)
        document = lane_pass.route.converter.private_document(item.json)
        keep(lane_pass, [DeadLetter(trace_id, "", problem, document, is_span=False)])


def note_missing(lane_pass: Pass, problem: str) -> None:
    """Report a trace that was requested or listed, but that Netra does not have."""
    lane_pass.report.missing += 1
    lane_pass.report.note(problem)


def keep(lane_pass: Pass, letters: Sequence[DeadLetter]) -> None:
    """Record dead letters, if the state outlives the process."""
    if letters and lane_pass.route.options.state_lasts:
        lane_pass.report.dead_lettered += len(letters)
        lane_pass.route.recorder.dead(letters)


async def resend(route: Route) -> LaneReport:
    """Send the dead letters of a lane that are spans again, each once. Errors become ``report.error``.

    A span that is delivered now is no longer a dead letter; one that is rejected again stays.
    """
    report, recorder = LaneReport(route.watch.name), route.recorder
    batcher: Batcher[int] = Batcher(route.options.batch_spans, route.options.batch_bytes)

    async def send(batch: Batch[int] | None) -> None:
        if batch is None:
            return
        answer: Answer[int] = Answer()
        try:
            await route.sender.send(batch, answer)
        finally:
            recorder.resolved(item.owner for item in answer.accepted)
            recorder.answered([], answer.delivered, answer.refused, answer.size_bytes)
            report.delivered += answer.delivered
            report.size_bytes += answer.size_bytes
            report.refused += answer.refused
            report.dead_lettered += len(answer.dead)
            for problem in answer.problems:
                report.note(problem)
            await recorder.flush()
            route.watch.grew(report)

    try:
        last_id = 0
        while letters := recorder.lane.dead_letters(last_id, PAGE):
            last_id = letters[-1].id
            for stored in letters:
                if stored.letter.is_span:
                    span = span_of(stored.letter)
                    report.spans += 1
                    await send(batcher.add(Item(span, encode_span(span), stored.id)))
        await send(batcher.flush())
    except Exception as error:  # noqa: BLE001  what ends one lane ends no other
        report.error = lane_error(error, route.watch)
    except asyncio.CancelledError:
        await recorder.flush()
        raise
    return report
