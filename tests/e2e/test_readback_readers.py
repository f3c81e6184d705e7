"""Readers of the real stores: every span of the corpus comes back, and is proved by its checksum where the form says so."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.core.errors import DestinationMisconfigured
from netra_otel_bridge.readback.names import open_reader
from netra_otel_bridge.readback.reader import FindsTraces, TraceNotReturned, TraceReader
from tests.support.jaeger import Jaeger
from tests.support.phoenix import Phoenix
from tests.support.readback import corpus, different, has_bytes, ids_of, returned, send, unproved
from tests.support.replays import HOUR_NS
from tests.support.spans import make_span
from tests.support.tempo import Tempo

NOW_NS = time.time_ns()


@pytest.fixture(scope="module")
def spans() -> list[ReadableSpan]:
    """Return spans of every kind, with all attributes that the bridge adds."""
    return corpus("both", NOW_NS)


@pytest.fixture(scope="module")
def tempo() -> Iterator[Tempo]:
    """Run a Tempo of this file's own."""
    with Tempo() as server:
        yield server


@pytest.fixture(scope="module")
def phoenix() -> Iterator[Phoenix]:
    """Run a Phoenix of this file's own."""
    with Phoenix() as server:
        yield server


@asynccontextmanager
async def reading(at: str) -> AsyncIterator[TraceReader]:
    """Open the reader of a store."""
    reader = open_reader(at, headers={}, ca_file=None)
    try:
        yield reader
    finally:
        await reader.aclose()


async def test_jaeger_returns_every_span(jaeger: Jaeger, spans: list[ReadableSpan]) -> None:
    """Over gRPC and over HTTP, every checksum and every carrier is right, and reduced spans are equal."""
    await send(jaeger.otlp_grpc, spans)
    for at in (jaeger.read_at, jaeger.read_at_http):
        async with reading(at) as reader:
            found = await returned(reader, spans)
            assert unproved(spans, found) == []
            assert different(reader.form, spans, found) == {}
            assert await reader.read("f" * 32, NOW_NS) == b""


async def test_a_file_returns_every_span(tmp_path: Path, spans: list[ReadableSpan]) -> None:
    """Every checksum and every carrier is right, before and after the file is rotated."""
    path = tmp_path / "spans.jsonl"
    await send(f"otlp-file:{path}", spans[: len(spans) // 2])
    path.rename(tmp_path / "spans.jsonl.1")
    await send(f"otlp-file:{path}", spans[len(spans) // 2 :])
    async with reading(f"otlp-file:{path}") as reader:
        found = await returned(reader, spans)
        assert unproved(spans, found) == []
        assert different(reader.form, spans, found) == {}


async def test_tempo_returns_every_span(tempo: Tempo, spans: list[ReadableSpan]) -> None:
    """Every checksum is right, except for spans with a value of bytes, which are equal once they are reduced."""
    await send(tempo.otlp_grpc, spans)
    async with reading(tempo.read_at) as reader:
        found = await returned(reader, spans)
        with_bytes = [ids_of(span) for span in spans if has_bytes(span)]
        assert unproved(spans, found) == with_bytes
        assert len(with_bytes) == 2
        assert different(reader.form, spans, found) == {}
        assert await reader.read("f" * 32, NOW_NS) == b""


async def test_tempo_names_the_setting_for_a_trace_that_it_cannot_return(tempo: Tempo) -> None:
    """A trace above 4 MiB is stored and cannot be returned; the error is of this trace alone, and is no empty result."""
    for number in range(2):
        await send(tempo.otlp_grpc, [make_span(0xE10 + number, trace_id=0xE1, attributes={"text": "x" * 2_120_000})])
    async with reading(tempo.read_at) as reader:
        with pytest.raises(TraceNotReturned, match="larger than max") as raised:
            await reader.read(f"{0xE1:032x}", NOW_NS)
        assert "grpc_server_max_recv_msg_size" in raised.value.hint


async def test_phoenix_returns_every_span(phoenix: Phoenix) -> None:
    """Reduced spans are equal; spans with a value of bytes, and a second span with a known id, are dropped behind an OK."""
    first = {ids_of(span)[1]: span for span in reversed(corpus("openinference", NOW_NS, many=1100))}
    spans = [span for span in first.values() if not has_bytes(span)]
    await send(phoenix.otlp_http, spans)
    async with reading(phoenix.read_at) as reader:
        found = await returned(reader, spans, within_s=240.0)
        assert different(reader.form, spans, found) == {}
        assert await reader.read("f" * 32, NOW_NS) == b""


@pytest.mark.parametrize("kind", ["read_at", "read_at_http"])
async def test_a_search_of_jaeger_finds_traces(jaeger: Jaeger, spans: list[ReadableSpan], kind: str) -> None:
    """A search shows the traces of a service whose spans start in the range, and no others."""
    await send(jaeger.otlp_grpc, spans[:30])
    async with reading(getattr(jaeger, kind)) as reader:
        assert isinstance(reader, FindsTraces)
        assert {f"{0xA1:032x}"} <= (await reader.find("assistant", NOW_NS - 3 * HOUR_NS, NOW_NS) or set())
        assert await reader.find("nobody's", NOW_NS - 3 * HOUR_NS, NOW_NS) == set()
        assert await reader.find("assistant", NOW_NS - HOUR_NS // 60, NOW_NS - HOUR_NS // 120) == set()


async def test_a_jaeger_with_room_for_few_traces_can_be_searched() -> None:
    """Jaeger refuses searches for more traces than it has room for; the reader asks for fewer."""
    with Jaeger(max_traces=40) as few:
        await send(few.otlp_grpc, [make_span(0xF00 + number, trace_id=0xF00 + number) for number in range(50)])
        for at in (few.read_at, few.read_at_http):
            async with reading(at) as reader:
                assert isinstance(reader, FindsTraces)
                assert await reader.find("assistant", 0, NOW_NS) is None
                assert await reader.find("nobody's", 0, NOW_NS) == set()


async def test_a_trace_that_jaeger_sorted_is_no_other(spans: list[ReadableSpan]) -> None:
    """Jaeger keeps what it does to a trace for a reader that does not want it raw; reduced spans are equal all the same."""
    some = spans[:20] + spans[-100:]
    with Jaeger() as jaeger:
        await send(jaeger.otlp_grpc, some)
        for trace_id in {ids_of(span)[0].hex() for span in some}:
            assert jaeger.trace(trace_id)["resourceSpans"]
        async with reading(jaeger.read_at) as reader:
            found = await returned(reader, some)
            assert unproved(some, found) != []
            assert different(reader.form, some, found) == {}


async def test_jaegers_own_model_is_no_difference(spans: list[ReadableSpan]) -> None:
    """In Badger, spans without lists and maps are proved by their checksum, others are equal once reduced, except links."""
    some = [span for span in spans[-200:] if not any(link.attributes for link in span.links)]
    with Jaeger(badger=True) as jaeger:
        await send(jaeger.otlp_grpc, some)
        async with reading(jaeger.read_at) as reader:
            found = await returned(reader, some)
            assert 0 < len(unproved(some, found)) < len(some)
            assert different(reader.form, some, found) == {}


async def test_a_wrong_port_is_named(jaeger: Jaeger, tempo: Tempo) -> None:
    """A reader that meets another server says so, at once."""
    for at in (
        jaeger.otlp_grpc.replace("otlp", "jaeger"),
        tempo.read_at.replace("tempo", "jaeger"),
        jaeger.read_at_http.replace("jaeger", "tempo"),
        jaeger.read_at_http.replace("jaeger", "phoenix"),
        jaeger.read_at.replace("grpc", "http"),
        jaeger.read_at_http.replace("http", "grpc"),
    ):
        async with reading(at) as reader:
            with pytest.raises(DestinationMisconfigured):
                await reader.read("f" * 32, NOW_NS)
