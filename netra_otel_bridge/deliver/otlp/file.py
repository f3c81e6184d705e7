"""Write OTLP JSON to a file: each batch is one line with one ``TracesData``.

- A batch is written whole and is on the disk (``fsync``) before it is `Delivered`. If that fails, what was written of
  it is removed again, and the lane stops: `DestinationUnavailable` names the path and what to do.
- The file is opened at the first batch. A crash can leave a torn last line: on opening, a last line without its end is
  removed if it is not JSON, and ended if it is. Its batch was not answered, so it comes again.
- A new file is readable for its owner alone (0600), because it contains prompts; an existing file keeps its mode.
- A file that was moved away (log rotation) is created again at the next batch.
- Anything but a regular file (``/dev/stdout``, a named pipe) is only written to.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import msgspec

from netra_otel_bridge.core.errors import ConfigurationError, DestinationUnavailable
from netra_otel_bridge.core.files import sync_directory
from netra_otel_bridge.core.model.outcome import Delivered, Inspection, Outcome, Refused, Retry, SpanBatch
from netra_otel_bridge.deliver.adapters.worker_thread import OneAtATime, StillRunning
from netra_otel_bridge.deliver.otlp.json import encode_line

_BLOCK_BYTES = 1 << 16


class OtlpFileDestination:
    """Appends batches to the file at ``path``. Raises `ConfigurationError` if it can never be written."""

    def __init__(self, name: str, path: Path, deadline_s: float = 60.0) -> None:
        self.name = name
        self._path = path
        self._deadline_s = deadline_s
        self._calls: OneAtATime[Outcome] = OneAtATime(f"write {path}")
        self._file: int | None = None
        self._closed = False
        _check(path)

    async def inspect(self) -> Inspection:
        """Test whether the file can be written, without changing its content or leaving a new file.

        A named pipe is not opened: its reader would see it end. Raises `ConfigurationError`.
        """
        _check(self._path)
        if self._path.is_fifo():
            unknown = "whether anyone reads it (check --send sends a span)"
            return Inspection("a named pipe, not tested: opening it would end its reader", unknown, sure=False)
        try:
            _try(self._path)
        except OSError as error:
            raise ConfigurationError(
                f"otlp-file: {self._path} cannot be written: {error.strerror or error}", hint="name another path"
            ) from error
        return Inspection("it can be written", "whether there is room for what will be written")

    async def send(self, batch: SpanBatch) -> Outcome:
        """Append one line. Raises `DestinationUnavailable` if the file system fails; `Retry` if nobody reads a pipe."""
        if self._closed:
            raise RuntimeError(f"the destination {self.name} is closed")
        try:
            return await self._calls.call(batch.spans, lambda: self._append(batch), self._deadline_s)
        except StillRunning:
            hint = "check whether the disk is slow, or nobody reads the pipe"
            return Retry(f"{self._path} did not accept a batch within {self._deadline_s:g} s", hint=hint)

    async def aclose(self) -> None:
        """Close the file; a pipe that nobody reads is abandoned."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(StillRunning):
            await self._calls.call(object(), self._close, min(self._deadline_s, 5.0))
        self._calls.close()

    def _append(self, batch: SpanBatch) -> Outcome:
        try:
            line = encode_line(batch.spans) + b"\n"
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            return Refused(f"a span cannot be written as OTLP JSON: {type(error).__name__}: {error}")
        try:
            file = self._current()
            if not stat.S_ISREG(os.fstat(file).st_mode):
                _write_all(file, line)
                return Delivered()
            end = os.fstat(file).st_size
            try:
                _write_all(file, line)
                os.fsync(file)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(file, end)
                raise
        except OSError as error:
            raise DestinationUnavailable(
                f"cannot write to {self._path}: {error.strerror or error}",
                hint="free disk space or repair the disk; nothing is lost, the batch is sent again",
            ) from error
        return Delivered()

    def _current(self) -> int:
        """Return the open file, reopened if the path no longer leads to it."""
        if self._file is not None and _is_regular(self._file) and not _same_file(self._file, self._path):
            self._close()
        if self._file is None:
            self._file = _open(self._path)
        return self._file

    def _close(self) -> Outcome:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        return Delivered()


def _check(path: Path) -> None:
    """Raise `ConfigurationError` for a path at which no file can ever be written."""
    if path.is_dir():
        raise ConfigurationError(f"otlp-file: {path} is a directory", hint="name a file in it")
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"otlp-file: there is no directory {path.parent}", hint="create it, or name another path"
        )
    target, access = (path, os.W_OK) if path.exists() else (path.parent, os.W_OK | os.X_OK)
    if not os.access(target, access):
        raise ConfigurationError(
            f"otlp-file: no permission to write {target}", hint="change its mode, or name another path"
        )


def _try(path: Path) -> None:
    """Open the file without writing; if there is none, create one briefly, without a name if possible."""
    if path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC))
        return
    with contextlib.suppress(AttributeError, OSError):
        os.close(os.open(path.parent, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600))
        return
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    path.unlink()


def _open(path: Path) -> int:
    """Open for appending, create the file if it does not exist, and repair a torn end."""
    made = not path.exists()
    writable_only = not made and not _is_regular(path)
    file = os.open(path, (os.O_WRONLY if writable_only else os.O_RDWR) | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not writable_only:
            _repair(file)
        if made:
            sync_directory(path.parent)
    except BaseException:
        os.close(file)
        raise
    return file


def _repair(file: int) -> None:
    """Remove a torn last line, or end one that only lacks its line break."""
    size = os.fstat(file).st_size
    start = _last_line(file, size)
    if start == size:
        return
    try:
        msgspec.json.decode(os.pread(file, size - start, start))
    except (msgspec.DecodeError, UnicodeDecodeError):
        os.ftruncate(file, start)
    else:
        os.write(file, b"\n")


def _last_line(file: int, size: int) -> int:
    """Return the position after the last line break."""
    position = size
    while position > 0:
        begin = max(0, position - _BLOCK_BYTES)
        found = os.pread(file, position - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        position = begin
    return 0


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _is_regular(file: int | Path) -> bool:
    return stat.S_ISREG(os.stat(file).st_mode)


def _same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
