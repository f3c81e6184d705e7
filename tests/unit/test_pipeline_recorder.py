"""The recorder: records are readable at once, stored in groups, and durable after a flush."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.core.clock import SystemClock
from netra_otel_bridge.core.errors import StateNotWritten
from netra_otel_bridge.core.model.progress import Progress, TraceRecord
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.packed_checksums import pack_spans, unpack_spans
from netra_otel_bridge.pipeline.digests import DIGEST_BYTES, MAX_DIGESTS, holds_digest, is_confirmed, with_digest
from netra_otel_bridge.pipeline.recorder import UNSTORED_SPANS, Recorder
from netra_otel_bridge.state import LaneState, StateStore
from tests.support.waiting import DEADLINE_S, settled, until

DIGESTS = st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    opened = StateStore.open(tmp_path / "state", SystemClock())
    yield opened
    opened.close()


@pytest.fixture
def writer() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def lane(store: StateStore) -> LaneState:
    return store.lane("http://netra", "otlp")


def record(name: str, *spans: int, digest: bytes | None = b"12345678") -> TraceRecord:
    return TraceRecord(name, 1, digest, pack_spans(dict.fromkeys(spans, 7)))


@given(st.dictionaries(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)))
def test_spans_come_back(spans: dict[int, int]) -> None:
    """A span takes twelve bytes, and unpacking returns it."""
    packed = pack_spans(spans)
    assert len(packed) == len(spans) * TraceRecord.ENTRY_BYTES
    assert unpack_spans(packed) == spans


@given(st.lists(st.tuples(DIGESTS, st.booleans()), min_size=1, max_size=8))
def test_digests(seen: list[tuple[bytes, bool]]) -> None:
    """The latest digests are found, and whether the last reading confirmed them; halves of two digests are not."""
    digests: bytes | None = None
    for digest, confirmed in seen:
        digests = with_digest(digests, digest, confirmed=confirmed)
        assert holds_digest(digests, digest)
        assert is_confirmed(digests) == confirmed
    latest = list(dict.fromkeys(digest for digest, _ in reversed(seen)))
    assert all(holds_digest(digests, digest) for digest in latest[:MAX_DIGESTS])
    assert not any(holds_digest(digests, digest) for digest in latest[MAX_DIGESTS:])
    assert not holds_digest(None, seen[0][0])
    assert not is_confirmed(None)


async def test_what_is_recorded_is_known_at_once_and_durable_after_a_flush(
    store: StateStore, writer: ThreadPoolExecutor
) -> None:
    """Before any transaction the recorder knows it and the state does not; afterwards both do."""
    recorder = Recorder(lane(store), writer, SystemClock())
    recorder.answered([record("a", 1, 2)], 2, 0, 100)
    recorder.finished(Window(0, 5))
    assert recorder.known(["a", "b"])["a"].spans == 2
    assert recorder.spans("a") == {1: 7, 2: 7}
    assert lane(store).known(["a"]) == {}
    await recorder.flush()
    assert lane(store).known(["a"])["a"].spans == 2
    assert [one.window for one in lane(store).finished()] == [Window(0, 5)]
    (status,) = store.lanes()
    assert (status.delivered, status.size_bytes) == (2, 100)


async def test_answers_that_come_during_a_transaction_go_into_the_next(
    store: StateStore, writer: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many answers arrive, they are one transaction, and nothing of the first one is lost or repeated."""
    written: list[list[str]] = []
    begun, go = threading.Event(), threading.Event()
    commit = LaneState.commit

    def slow(self: LaneState, progress: Progress, now_ns: int) -> None:
        begun.set()
        assert go.wait(DEADLINE_S)
        written.append([one.trace_id for one in progress.traces])
        commit(self, progress, now_ns)

    monkeypatch.setattr(LaneState, "commit", slow)
    recorder = Recorder(lane(store), writer, SystemClock())
    running = asyncio.create_task(recorder.run())
    recorder.answered([record("a", 1)], 1, 0, 0)
    await until(begun.is_set)
    for name in "bcd":
        recorder.answered([record(name, 1)], 1, 0, 0)
        await asyncio.sleep(0.01)
        assert set(recorder.known(["a", "b", "c", "d"])) >= {"a", name}
    running.cancel()
    go.set()
    await recorder.flush()
    assert written == [["a"], ["b", "c", "d"]]
    assert store.lanes()[0].delivered == 4


async def test_a_flush_that_is_cancelled_ends_first(
    store: StateStore, writer: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop during a transaction does not lose what was answered meanwhile."""
    begun, go = threading.Event(), threading.Event()
    commit = LaneState.commit

    def slow(*given: Any) -> None:
        begun.set()
        assert go.wait(DEADLINE_S)
        commit(*given)

    monkeypatch.setattr(LaneState, "commit", slow)
    recorder = Recorder(lane(store), writer, SystemClock())
    running = asyncio.create_task(recorder.run())
    recorder.answered([record("a", 1)], 1, 0, 0)
    await until(begun.is_set)
    recorder.answered([record("b", 1)], 1, 0, 0)
    running.cancel()
    flushing = asyncio.create_task(recorder.flush())
    await settled()
    flushing.cancel()
    await settled()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    assert set(lane(store).known(["a", "b"])) == {"a", "b"}


async def test_sending_waits_for_the_disk(
    store: StateStore, writer: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answered spans that are not stored yet are bounded."""
    begun, go = threading.Event(), threading.Event()
    commit = LaneState.commit

    def slow(*given: Any) -> None:
        begun.set()
        assert go.wait(DEADLINE_S)
        commit(*given)

    monkeypatch.setattr(LaneState, "commit", slow)
    recorder = Recorder(lane(store), writer, SystemClock())
    running = asyncio.create_task(recorder.run())
    for name in "ab":
        recorder.answered([record(name, 1)], UNSTORED_SPANS + 1, 0, 0)
        await until(begun.is_set)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(recorder.room(), 0.1)
    go.set()
    await asyncio.wait_for(recorder.room(), DEADLINE_S)
    running.cancel()
    await recorder.flush()


async def test_after_a_failed_transaction_every_flush_raises(store: StateStore, writer: ThreadPoolExecutor) -> None:
    """The task ends with the error, and so does every later flush."""
    recorder = Recorder(lane(store), writer, SystemClock())
    running = asyncio.create_task(recorder.run())
    (store.directory / "state.db").unlink()
    recorder.answered([record("a", 1)], 1, 0, 0)
    with pytest.raises(StateNotWritten, match="deleted"):
        await running
    for _ in range(2):
        with pytest.raises(StateNotWritten):
            await recorder.flush()
    recorder.answered([record("b", 1)], 1, 0, 0)
    with pytest.raises(StateNotWritten):
        await recorder.flush()
