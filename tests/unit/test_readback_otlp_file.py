"""Reading files of OTLP JSON back while they grow, rotate, and hold lines that are no spans."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.trace import Link

from netra_otel_bridge.core.errors import DestinationMisconfigured
from netra_otel_bridge.deliver.otlp.json import encode_line
from netra_otel_bridge.readback import otlp_file
from netra_otel_bridge.readback.otlp_file import OtlpFileReader
from tests.support.spans import context, make_span


def line(*numbers: int, trace: int = 0xA1) -> bytes:
    """Return a line with spans of one trace."""
    return encode_line([make_span(number, trace_id=trace) for number in numbers]) + b"\n"


async def numbers(reader: OtlpFileReader, trace: int = 0xA1) -> list[int]:
    """Return the numbers of the spans that are read of a trace."""
    data = TracesData.FromString(await reader.read(f"{trace:032x}", 0))
    return [span.span_id[-1] for one in data.resource_spans for scope in one.scope_spans for span in scope.spans]


def opened(path: Path) -> OtlpFileReader:
    return OtlpFileReader(f"otlp-file:{path}", path)


async def test_spans_of_a_trace_are_found_in_all_lines(tmp_path: Path) -> None:
    """Each copy of a span is returned, each with its resource and scope, and those of other traces are not."""
    path = tmp_path / "spans.jsonl"
    both = encode_line([make_span(3, trace_id=0xA1), make_span(4, trace_id=0xA2)]) + b"\n"
    path.write_bytes(line(1) + both + line(1) + line(9, trace=0xA2))
    reader = opened(path)
    assert await numbers(reader) == [1, 3, 1]
    assert await numbers(reader, 0xA2) == [4, 9]
    assert await numbers(reader, 0xA3) == []
    assert reader.calls == 3
    await reader.aclose()


async def test_what_is_appended_is_found(tmp_path: Path) -> None:
    """A line counts once it is whole; a last line without its end counts if it is JSON."""
    path = tmp_path / "spans.jsonl"
    path.write_bytes(line(1))
    reader = opened(path)
    assert await numbers(reader) == [1]
    with path.open("ab") as file:
        file.write(line(2)[:50])
        file.flush()
        assert await numbers(reader) == [1]
        file.write(line(2)[50:-1])
        file.flush()
        assert await numbers(reader) == [1, 2]
        file.write(b"\n" + line(3))
    assert await numbers(reader) == [1, 2, 3]
    await reader.aclose()


async def test_rotated_files_are_read(tmp_path: Path) -> None:
    """``PATH.N`` of logrotate and ``STEM-TIMESTAMP.SUFFIX`` of the Collector are read, oldest first; gzip is noted."""
    path = tmp_path / "spans.jsonl"
    path.write_bytes(line(4))
    (tmp_path / "spans.jsonl.2").write_bytes(line(1))
    (tmp_path / "spans.jsonl.1").write_bytes(line(2))
    (tmp_path / "spans-2026-05-01T00-00-00.000.jsonl").write_bytes(line(3))
    (tmp_path / "spans.jsonl.3.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "other.jsonl.1").write_bytes(line(8))
    reader = opened(path)
    assert await numbers(reader) == [1, 2, 3, 4]
    assert reader.notes == [f"{tmp_path}/spans.jsonl.3.gz is compressed, and is not read"]
    await reader.aclose()


async def test_a_file_that_is_rotated_meanwhile_counts_once(tmp_path: Path) -> None:
    """What was in the file stays found under its new name, and what comes into the new file is found, too."""
    path = tmp_path / "spans.jsonl"
    path.write_bytes(line(1))
    reader = opened(path)
    assert await numbers(reader) == [1]
    path.rename(tmp_path / "spans.jsonl.1")
    assert await numbers(reader) == [1]
    path.write_bytes(line(2))
    assert await numbers(reader) == [1, 2]
    await reader.aclose()


async def test_a_file_that_is_emptied_is_read_anew(tmp_path: Path) -> None:
    """After a truncation, nothing of the earlier content is returned."""
    path = tmp_path / "spans.jsonl"
    path.write_bytes(line(1) + line(2))
    reader = opened(path)
    assert await numbers(reader) == [1, 2]
    os.truncate(path, 0)
    assert await numbers(reader) == []
    path.write_bytes(line(3))
    assert await numbers(reader) == [3]
    await reader.aclose()


async def test_lines_that_are_no_spans_are_noted(tmp_path: Path) -> None:
    """Damaged lines are noted and hide no others; metrics, logs and links of other traces are no spans."""
    path = tmp_path / "spans.jsonl"
    damaged = line(2)[:-10] + b"\n"
    link = encode_line([make_span(5, trace_id=0xB5, links=[Link(context(0xA1, 1))])]) + b"\n"
    path.write_bytes(line(1) + damaged + b'{"resourceMetrics": []}\n\n' + link + line(3))
    reader = opened(path)
    assert await numbers(reader) == [1, 3]
    assert await numbers(reader) == [1, 3]
    assert reader.notes == [f"lines in {path} that are not OTLP JSON: 1"]
    await reader.aclose()


async def test_lines_that_no_trace_leads_to_are_noted(tmp_path: Path) -> None:
    """A line that is no JSON, and a last line without its end, are noted although no trace that is read is in them."""
    path = tmp_path / "spans.jsonl"
    path.write_bytes(line(1) + b"this is no JSON\n" + line(2, trace=0xA2)[:-20])
    reader = opened(path)
    assert await numbers(reader) == [1]
    assert reader.notes == [
        f"lines in {path} that are not OTLP JSON: 1",
        f"{path} ends in the middle of a line, which is not read",
    ]
    with path.open("ab") as file:
        file.write(line(2, trace=0xA2)[-20:])
    assert await numbers(reader, 0xA2) == [2]
    assert reader.notes == [f"lines in {path} that are not OTLP JSON: 1"]
    await reader.aclose()


async def test_few_lines_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are decoded once while they are near, and are not all held."""
    monkeypatch.setattr(otlp_file, "_CACHE_BYTES", 3 * len(line(1)))
    path = tmp_path / "spans.jsonl"
    path.write_bytes(b"".join(line(number, trace=number) for number in range(1, 9)))
    reader = opened(path)
    for number in range(1, 9):
        assert await numbers(reader, number) == [number]
        assert len(reader._cached) <= 3
    assert await numbers(reader, 1) == [1]
    await reader.aclose()


@pytest.mark.parametrize("kind", ["nothing", "a directory", "a pipe", "no directory"])
async def test_what_is_no_file_cannot_be_read(tmp_path: Path, kind: str) -> None:
    """It is an error of the address and not an empty store."""
    path = tmp_path / "spans.jsonl"
    if kind == "a directory":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "no directory":
        path = path / "spans.jsonl"
    reader = opened(path)
    with pytest.raises(DestinationMisconfigured, match=r"spans\.jsonl cannot be read back"):
        await reader.read(f"{1:032x}", 0)
    await reader.aclose()
