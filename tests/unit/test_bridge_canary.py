"""A canary is sent and looked for: what is said of a store that keeps it, cuts it, loses it, hides it or cannot be asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

import netra_otel_bridge.cli.check as command
from netra_otel_bridge.bridge.canary import Canary, send_canary
from netra_otel_bridge.bridge.stores import stores_of
from netra_otel_bridge.core.errors import DestinationUnavailable, UsageError
from netra_otel_bridge.core.model.outcome import Delivered, Outcome, Refused, SpanBatch
from netra_otel_bridge.core.model.readback import BESIDE, SUMMED
from netra_otel_bridge.deliver.otlp.encode import CHECK_FILLING, encode_request
from tests.support import cli
from tests.support.cli import environment
from tests.support.fake_clock import FakeClock
from tests.support.scripted_store import Index, SearchedReader, hex_id

DAY_NS = 86_400 * 10**9


class Keeping:
    """A destination whose store keeps what ``keeps`` returns."""

    name = "there"

    def __init__(self, keeps: Callable[[TracesData], None] = lambda _: None) -> None:
        self.clock = FakeClock()
        self.reader = SearchedReader({}, store="tempo")
        self.reader.index, self.reader.clock = {}, self.clock
        self.kept: dict[str, bytes] = {}
        self.reader.traces = self.kept
        self.sizes: list[int] = []
        self.answer: Outcome = Delivered()
        self._keeps = keeps

    async def send(self, batch: SpanBatch) -> Outcome:
        if self.answer != Delivered():
            return self.answer
        data = TracesData.FromString(encode_request(batch.spans, batch.encoded))
        self._keeps(data)
        trace_id = hex_id(batch.spans[0].context.trace_id)
        self.kept[trace_id] = self.kept.get(trace_id, b"") + data.SerializeToString()
        self.sizes.append(batch.size_bytes)
        self.reader.index[trace_id] = Index("netra-otel-bridge", batch.spans[0].start_time or 0)
        return self.answer

    async def aclose(self) -> None:
        pass

    async def canary(self, size_bytes: int = 100_000) -> Canary:
        return await send_canary(
            self,
            self.reader,
            start_ns=self.clock.now_ns() - 400 * DAY_NS,
            size_bytes=size_bytes,
            batch_bytes=3_500_000,
            clock=self.clock,
        )


@pytest.mark.parametrize("size_bytes", [5_000, 100_000, 4_000_000])
async def test_a_store_that_keeps_it_is_ok(size_bytes: int) -> None:
    """The trace has the size that was asked for, and one line says that it was found in both ways."""
    there = Keeping()
    found = await there.canary(size_bytes)
    assert (found.ok, found.exit_code) == (True, 0)
    assert "by id and by search" in found.said[0]
    assert 0.8 * size_bytes < sum(there.sizes) < 1.2 * size_bytes


def cut(data: TracesData) -> None:
    for scope in data.resource_spans[0].scope_spans:
        for span in scope.spans:
            for one in span.attributes:
                if one.key == CHECK_FILLING:
                    one.value.string_value = one.value.string_value[:2048]


async def test_a_store_that_cuts_says_which_setting_does_it() -> None:
    """The line names the attribute and the setting of the store."""
    found = await Keeping(cut).canary()
    assert (found.ok, found.exit_code) == (False, 3)
    assert CHECK_FILLING in found.said[0]
    assert "max_attribute_bytes" in found.said[0]


async def test_a_store_that_hides_it_is_not_ok() -> None:
    """What no search shows is not enough for a backfill."""
    there = Keeping()
    there.reader.find = lambda *_: nothing()  # type: ignore[method-assign]
    found = await there.canary()
    assert (found.ok, found.exit_code) == (False, 3)
    assert found.report is not None
    assert (found.report.hidden, found.report.intact) == (10, 10)


async def nothing() -> set[str]:
    return set()


async def test_a_store_that_loses_it_is_not_ok() -> None:
    """It is looked for until the store had its time."""
    there = Keeping()
    there.reader.traces = {}
    found = await there.canary()
    assert (found.ok, found.exit_code) == (False, 3)
    assert found.report is not None
    assert found.report.missing == 10
    assert there.clock.elapsed_s >= 60


async def test_a_destination_that_rejects_it_is_not_asked_for_it() -> None:
    """The reason is said, and nothing is read back."""
    there = Keeping()
    there.answer = Refused("too old")
    found = await there.canary()
    assert (found.ok, found.exit_code, there.reader.calls) == (False, 3, 0)
    assert "too old" in found.said[0]


async def test_a_trace_that_is_too_large_names_the_setting() -> None:
    """Tempo says TRACE_TOO_LARGE, and a line names its limit."""
    there = Keeping()
    there.answer = Refused("TRACE_TOO_LARGE: max size of trace (5000000) exceeded")
    found = await there.canary()
    assert (found.ok, found.exit_code) == (False, 3)
    assert "TRACE_TOO_LARGE" in found.said[0]
    assert "`max_bytes_per_trace`" in found.said[1]


def test_the_document_has_all_counts_of_a_canary_that_was_not_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing was asked, so each count is 0."""

    async def checked(*_: object, **__: object) -> list[object]:
        return []

    async def sent(*_: object, **__: object) -> list[Canary]:
        return [Canary("there", "tempo+http://h:3200", "0" * 32, False, ("rejected",), 3)]

    monkeypatch.setattr(command, "check_all", checked)
    monkeypatch.setattr(command, "canaries", sent)
    result = cli.run("check", "--canary", "--json", "--to", "console", env=environment("http://127.0.0.1:9"))
    (found,) = result.json["canaries"]
    assert {kind: found[kind] for kind in (*SUMMED, *BESIDE)} == dict.fromkeys((*SUMMED, *BESIDE), 0)
    assert result.code == found["exit_code"] == 3


async def test_a_store_that_cannot_be_asked_has_its_own_exit_code() -> None:
    """Nothing is said to be missing."""
    there = Keeping()
    there.reader._fails = lambda _: DestinationUnavailable("tempo is away")
    found = await there.canary()
    assert (found.ok, found.exit_code) == (False, 69)
    assert "tempo is away" in found.said[0]


@pytest.mark.parametrize(
    ("ats", "destinations", "expected"),
    [
        (["jaeger+grpc://h:1"], ["otlp+grpc://h:4317"], {"otlp+grpc://h:4317": "jaeger+grpc://h:1"}),
        (
            ["a=tempo+http://h:1", "b=jaeger+grpc://h:2"],
            ["a", "b"],
            {"a": "tempo+http://h:1", "b": "jaeger+grpc://h:2"},
        ),
        (["b=tempo+http://h:1"], ["a", "b"], {"b": "tempo+http://h:1"}),
        (["otlp+grpc://h:1=reader:mine:a=b"], ["otlp+grpc://h:1"], {"otlp+grpc://h:1": "reader:mine:a=b"}),
        ([], ["a", "b"], {}),
    ],
)
def test_each_destination_has_its_store(ats: list[str], destinations: list[str], expected: dict[str, str]) -> None:
    """A store belongs to the destination that it names, or to the only one there is."""
    assert stores_of(destinations, ats) == expected


@pytest.mark.parametrize(
    ("ats", "destinations"),
    [
        (["jaeger+grpc://h:1"], ["a", "b"]),
        (["a=x", "a=y"], ["a"]),
        (["x", "y"], ["a"]),
        (["a=x", "y"], ["a"]),
        (["x"], []),
    ],
)
def test_a_store_of_no_destination_is_an_error(ats: list[str], destinations: list[str]) -> None:
    """Neither an unclear owner nor a second store is guessed about."""
    with pytest.raises(UsageError):
        stores_of(destinations, ats)
