"""Answered spans are marked to be sent again, without forgetting that they were sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from netra_otel_bridge.core.model.progress import Progress, TraceRecord
from netra_otel_bridge.pipeline.digests import pack_spans, unpack_spans
from netra_otel_bridge.state import LaneState, StateStore
from tests.support.fake_clock import FakeClock

SENT = {1: 11, 2: 22, 3: 2**32 - 1}


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[LaneState]:
    with StateStore.open(tmp_path / "state", FakeClock()) as store:
        lane = store.lane("s", "peer")
        lane.commit(Progress(traces=[TraceRecord(name, 5, b"digest", pack_spans(SENT)) for name in "ab"]), 1)
        yield lane


def spans(lane: LaneState, trace_id: str) -> dict[int, int]:
    return unpack_spans(lane.spans(trace_id))


def test_a_marked_span_differs_and_its_trace_is_read_again(lane: LaneState) -> None:
    """Other spans, other traces and unknown ones are left alone; the starts of the changed traces are returned."""
    marked, starts_ns = lane.mark({"a": [1, 3, 9], "unknown": [1], "b": [8]})
    assert starts_ns == [5]
    found = spans(lane, "a")
    assert found[2] == SENT[2]
    assert found[1] != SENT[1]
    assert found[3] != SENT[3]
    assert marked == {"a": {1: found[1], 3: found[3]}}
    assert spans(lane, "b") == SENT
    known = lane.known(["a", "b"])
    assert (known["a"].digest, known["b"].digest) == (None, b"digest")


def test_what_was_not_answered_gets_its_checksum_back(lane: LaneState) -> None:
    """A span that was sent again since keeps its new checksum; the others have theirs again, and are still known."""
    marked, _ = lane.mark({"a": [1, 2], "b": [1]})
    lane.commit(Progress(traces=[TraceRecord("a", 5, b"new", pack_spans({**spans(lane, "a"), 1: 77}))]), 2)
    assert lane.unmark(marked) == 2
    assert (spans(lane, "a"), spans(lane, "b")) == ({**SENT, 1: 77}, SENT)
