"""The state records the carriers of answered spans: their resources and scopes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge import Bridge, StateStore
from netra_otel_bridge.core.model.outcome import Delivered, Outcome, Refused, SpanBatch
from netra_otel_bridge.core.model.progress import Progress, TraceRecord
from netra_otel_bridge.core.packed_checksums import unpack_carriers, unpack_spans
from netra_otel_bridge.deliver import carrier_checksum
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.otlp import read_document
from netra_otel_bridge.state import schema
from tests.support.emulator import ThreadedEmulator, otlp_document, otlp_span, running_emulator
from tests.support.fake_clock import FakeClock

KEY = "nk-test"
TRACE = f"{1:032x}"


class Keeps:
    """A destination that keeps what it accepts, and refuses the spans of ``refused``."""

    name = "peer"

    def __init__(self, *refused: int) -> None:
        self.spans: list[ReadableSpan] = []
        self.answered: list[ReadableSpan] = []
        self._refused = refused

    async def send(self, batch: SpanBatch) -> Outcome:
        self.answered += batch.spans
        if any(span.context.span_id in self._refused for span in batch.spans):
            return Refused("not this one")
        self.spans += batch.spans
        return Delivered()

    async def aclose(self) -> None:
        pass

    @property
    def carriers(self) -> set[int]:
        return {carrier_of(span) for span in self.spans}


def carrier_of(span: ReadableSpan) -> int:
    return carrier_checksum(span.resource, span.instrumentation_scope)


def feed(netra: ThreadedEmulator, service: str, *numbers: int) -> None:
    """Put spans into the trace, under a resource of their own; a later one lasts longer, which changes the trace."""
    netra.ingest(
        read_document(
            otlp_document(
                *(otlp_span(1, number, duration_ns=number * 10**6) for number in numbers),
                resource={"service.name": service},
            )
        )
    )


def replay(netra: ThreadedEmulator, state: Path, to: Keeps) -> tuple[set[int], set[int]]:
    """Replay, and return the ids of the spans that the state has, and the carriers."""
    bridge = Bridge(environ={}, api_key=KEY, endpoint=netra.endpoint, window="7d", profile="raw")
    with bridge.open_state(state) as store:
        bridge.replay(to, from_="2026-11-01T00:00:00Z", until="2026-12-31T00:00:00Z", state=store)
        (status,) = store.lanes()
        lane = store.lane(status.source, status.destination)
        spans = unpack_spans(lane.spans(TRACE))
        carriers = unpack_carriers(spans, lane.carriers(TRACE))
        assert carriers.items() <= {(one.context.span_id, carrier_of(one)) for one in to.answered}
        return set(spans), set(carriers.values())


@pytest.fixture
def netra() -> Iterator[ThreadedEmulator]:
    with running_emulator(EmulatorOptions(port=0, api_key=KEY)) as emulator:
        yield emulator


def test_a_trace_has_the_carriers_of_its_answered_spans(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Each span has the checksum of its own resource and scope; those of later spans join the ones recorded before."""
    feed(netra, "shop", 1, 2)
    feed(netra, "bank", 3)
    to = Keeps()
    assert replay(netra, tmp_path / "state", to) == ({1, 2, 3}, to.carriers)
    assert len(to.carriers) == 2
    feed(netra, "late", 4)
    assert replay(netra, tmp_path / "state", to) == ({1, 2, 3, 4}, to.carriers)
    assert len(to.carriers) == 3


def test_a_rejected_span_is_answered_too(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The carrier of a span that the destination refused is recorded like its checksum."""
    feed(netra, "shop", 1)
    feed(netra, "bank", 2)
    to = Keeps(2)
    spans, carriers = replay(netra, tmp_path / "state", to)
    assert (spans, len(carriers)) == ({1, 2}, 2)
    assert to.carriers < carriers


def test_carriers_that_an_older_version_did_not_record_stay_unknown(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """A trace that an older version recorded gets no carriers of some of its spans: the others would seem changed."""
    feed(netra, "shop", 1)
    to = Keeps()
    replay(netra, tmp_path / "state", to)
    with closing(sqlite3.connect(tmp_path / "state" / "state.db")) as connection, connection:
        connection.execute("UPDATE trace SET carriers = x''")
    (tmp_path / "state" / "sum").unlink()
    feed(netra, "bank", 2)
    assert replay(netra, tmp_path / "state", to) == ({1, 2}, set())


def test_a_state_of_version_three_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its traces have no carriers, and keep all else; the state is then of the newest version."""
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:3])
        with StateStore.open(tmp_path / "state", FakeClock()) as store:
            store.lane("s", "peer")
    with closing(sqlite3.connect(tmp_path / "state" / "state.db")) as connection, connection:
        connection.execute("INSERT INTO trace SELECT id, 'a', 5, 6, x'31', x'000102030405060708090a0b', NULL FROM lane")
    (tmp_path / "state" / "sum").unlink()
    with StateStore.open(tmp_path / "state", FakeClock()) as store:
        lane = store.lane("s", "peer")
        assert (lane.spans("a"), lane.carriers("a")) == (bytes(range(12)), b"")
        record = TraceRecord("b", 1, None, bytes(12), carriers=b"1234")
        lane.commit(Progress(traces=[record]), 1)
        assert lane.carriers("b") == b"1234"
    with closing(sqlite3.connect(tmp_path / "state" / "state.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchall() == [(4,)]
