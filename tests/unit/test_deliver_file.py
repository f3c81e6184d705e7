"""The OTLP JSON file has whole lines, on disk before they count as delivered; it is private, and repaired after a crash."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from netra_otel_bridge.core.errors import ConfigurationError, DestinationUnavailable
from netra_otel_bridge.core.model.outcome import Delivered, Retry
from netra_otel_bridge.deliver import batch_of, open_destination
from netra_otel_bridge.deliver.otlp import file as module
from netra_otel_bridge.deliver.otlp.file import OtlpFileDestination
from tests.support.spans import make_span

BATCH = batch_of((make_span(1), make_span(2)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spans.jsonl"


def names(path: Path) -> list[list[str]]:
    """Return the span names of each line."""
    return [
        [span["name"] for scope in json.loads(line)["resourceSpans"][0]["scopeSpans"] for span in scope["spans"]]
        for line in path.read_text().splitlines()
    ]


async def write(path: Path, number: int) -> None:
    destination = open_destination(f"otlp-file:{path}")
    assert await destination.send(batch_of((make_span(number),))) == Delivered()
    await destination.aclose()


async def test_each_batch_is_a_line_and_what_is_there_stays(path: Path) -> None:
    """Two runs append: one TracesData a line, and every line is ended."""
    await write(path, 1)
    await write(path, 2)
    assert names(path) == [["span 1"], ["span 2"]]
    assert path.read_bytes().endswith(b"}\n")


async def test_the_file_is_made_for_its_owner_alone(path: Path) -> None:
    """A new file is private, because it contains prompts; an existing file keeps its mode."""
    await write(path, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    await write(path, 2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


async def test_a_batch_is_synced_before_it_is_delivered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Delivered` means on the disk: the sync comes after the whole line."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    destination = OtlpFileDestination("file", path)
    assert await destination.send(batch_of((make_span(3),))) == Delivered()
    synced.clear()
    assert await destination.send(BATCH) == Delivered()
    assert synced == [path.stat().st_size]
    await destination.aclose()


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (b'{"resourceSpans":[]}\n{"resourceSp', b'{"resourceSpans":[]}\n'),
        (b'{"resourceSpans":[]}\n{"resourceSpans":[]}', b'{"resourceSpans":[]}\n{"resourceSpans":[]}\n'),
        (b'{"resourceSpans":[{"torn', b""),
        (b'{"a":1}\n{"b":"' + "ü".encode()[:1], b'{"a":1}\n'),
        (b'{"a":1}\n' + b"x" * 200_000, b'{"a":1}\n'),
        (b"", b""),
        (b'{"a":1}\n', b'{"a":1}\n'),
    ],
)
async def test_a_torn_last_line_is_cut_off(path: Path, left: bytes, kept: bytes) -> None:
    """After a crash the file has whole lines again, and no whole line is lost."""
    path.write_bytes(left)
    await write(path, 1)
    assert path.read_bytes().startswith(kept + b'{"resourceSpans"')
    assert path.read_bytes().count(b"\n") == kept.count(b"\n") + 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("call", ["write", "fsync"])
async def test_a_disk_that_refuses_stops_the_lane_and_leaves_whole_lines(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    """The message names the path and what to do; half a line is removed; with room again, writing resumes."""
    await write(path, 1)
    destination = OtlpFileDestination("file", path)
    real = os.write

    def half_then_fail(file: int, data: bytes) -> int:
        if len(data) < 300:
            raise OSError(code, os.strerror(code))
        return real(file, data[: len(data) - 200])

    def fail(file: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr(os, call, half_then_fail if call == "write" else fail)
        with pytest.raises(DestinationUnavailable, match=str(path)) as raised:
            await destination.send(BATCH)
    assert raised.value.hint
    assert names(path) == [["span 1"]]
    assert await destination.send(BATCH) == Delivered()
    assert names(path) == [["span 1"], ["span 1", "span 2"]]
    await destination.aclose()


async def test_a_file_that_was_moved_away_is_made_anew(path: Path) -> None:
    """After log rotation the next batch goes to the path, not into the file that was renamed or removed."""
    destination = OtlpFileDestination("file", path)
    await destination.send(BATCH)
    path.rename(path.with_suffix(".1"))
    await destination.send(BATCH)
    path.unlink()
    await destination.send(BATCH)
    assert len(names(path)) == 1
    assert len(names(path.with_suffix(".1"))) == 1
    await destination.aclose()


async def test_a_file_is_opened_at_the_first_batch(path: Path) -> None:
    """A destination without a batch creates no file and does not change an existing one."""
    path.write_bytes(b'{"torn')
    for target in (path, path.with_suffix(".new")):
        await OtlpFileDestination("file", target).aclose()
    assert path.read_bytes() == b'{"torn'
    assert not path.with_suffix(".new").exists()


def test_a_path_that_can_never_be_written_is_a_configuration_error(tmp_path: Path) -> None:
    """A missing directory, or a path that is one, is an error at once, with the path."""
    with pytest.raises(ConfigurationError, match="no directory"):
        open_destination(f"otlp-file:{tmp_path}/missing/spans.jsonl")
    with pytest.raises(ConfigurationError, match="is a directory"):
        open_destination(f"otlp-file:{tmp_path}")


async def test_a_named_pipe_is_written_to_and_waited_for(path: Path) -> None:
    """Without a reader it is `Retry`, in time; with a reader the same batch arrives once."""
    os.mkfifo(path)
    destination = OtlpFileDestination("pipe", path, deadline_s=0.05)
    assert isinstance(await destination.send(BATCH), Retry)
    read: list[str] = []

    def read_all() -> None:
        with path.open() as lines:
            read.extend(lines)

    reader = threading.Thread(target=read_all)
    reader.start()
    while not isinstance(await destination.send(BATCH), Delivered):
        pass
    await destination.aclose()
    reader.join()
    assert len(read) == 1
    assert len(json.loads(read[0])["resourceSpans"]) == 1


async def test_dev_null_and_stdout_work(capfd: pytest.CaptureFixture[str]) -> None:
    """Only a regular file is truncated or synced."""
    for where in ("/dev/null", "/dev/stdout"):
        destination = open_destination(f"otlp-file:{where}")
        assert await destination.send(BATCH) == Delivered()
        await destination.aclose()
    assert '"resourceSpans"' in capfd.readouterr().out


async def test_a_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``otlp-file:~/x`` is expanded, because a shell does not expand it there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    destination = open_destination("otlp-file:~/spans.jsonl")
    assert await destination.send(BATCH) == Delivered()
    assert (tmp_path / "spans.jsonl").exists()
    await destination.aclose()


def test_the_last_line_is_found_over_many_blocks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for the last line break reads backwards, block by block."""
    monkeypatch.setattr(module, "_BLOCK_BYTES", 3)
    path.write_bytes(b"aaaa\nbbbbbbbbbb")
    file = os.open(path, os.O_RDONLY)
    assert module._last_line(file, 15) == 5
    os.close(file)
