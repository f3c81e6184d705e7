"""Find the lines of a trace in a file of OTLP JSON that may be appended to and rotated while it is read.

The index has the trace ids of each line and no content: about 200 bytes a trace. Ids of links are in it too, which
costs a look at a line and nothing else.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from netra_otel_bridge.readback.otlp_json import NotOtlp, decode_json, id_bytes

_TRACE_ID = re.compile(rb'"traceId"\s*:\s*"([0-9A-Fa-f]{32}|[0-9A-Za-z+/]{22}==)"')
"""In a text of JSON the quotes would be escaped, so no content can match."""

Line = tuple[int, int, int]
"""The number of the file, which no other gets, and the offset and size in bytes of the line in it."""


@dataclass(slots=True)
class _File:
    path: Path
    opened: BinaryIO
    indexed_bytes: int = 0
    is_unfinished: bool = False


class FileIndex:
    """The index of ``path`` and the files it was rotated to. All methods block. Raises `OSError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.compressed: list[Path] = []
        self.not_json: set[Line] = set()
        self._files: dict[int, _File] = {}
        self._opened = 0
        self._known: set[tuple[int, int]] = set()
        self._lines: dict[bytes, list[Line] | Line] = {}
        self._directory_ns = -1
        self._current: tuple[int, int] | None = None

    def lines(self, trace_id: bytes) -> list[Line]:
        """Return the lines that may have spans of a trace, after a look at what was appended."""
        self._refresh()
        found = self._lines.get(trace_id, [])
        return [found] if isinstance(found, tuple) else found

    @property
    def unfinished(self) -> list[Path]:
        """Return the files whose last line has no end and is no JSON."""
        return [file.path for file in self._files.values() if file.is_unfinished]

    def content(self, line: Line) -> bytes:
        """Return the text of a line."""
        number, offset, size = line
        return os.pread(self._files[number].opened.fileno(), size, offset)

    def close(self) -> None:
        """Close the files, and forget the index."""
        for file in self._files.values():
            file.opened.close()
        self._files.clear()
        self._known.clear()
        self._lines.clear()
        self.not_json.clear()
        self._current, self._directory_ns = None, -1

    def _refresh(self) -> None:
        self._open_new()
        if any(os.fstat(file.opened.fileno()).st_size < file.indexed_bytes for file in self._files.values()):
            self.close()
            self._open_new()
        for number, file in self._files.items():
            if os.fstat(file.opened.fileno()).st_size > file.indexed_bytes:
                self._append(number, file)

    def _open_new(self) -> None:
        """Open the files that are not open yet. A rotated file keeps its number, whatever its name is now."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            current, changed_ns = None, self.path.parent.stat().st_mtime_ns
        else:
            current, changed_ns = (status.st_dev, status.st_ino), self.path.parent.stat().st_mtime_ns
        if self._files and (current, changed_ns) == (self._current, self._directory_ns):
            return
        paths = list(self._paths())
        if not paths:
            raise FileNotFoundError(2, "there is no such file", str(self.path))
        for path in paths:
            opened = path.open("rb")
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                opened.close()
                raise IsNotAFile(22, "it is not a regular file", str(path))
            key = (status.st_dev, status.st_ino)
            if key in self._known:
                opened.close()
                continue
            self._known.add(key)
            self._files[self._opened] = _File(path, opened)
            self._opened += 1
        self._current, self._directory_ns = current, changed_ns

    def _paths(self) -> Iterator[Path]:
        """Return the path and those it was rotated to, the oldest first."""
        name, stem, suffix = (re.escape(text) for text in (self.path.name, self.path.stem, self.path.suffix))
        rotated = re.compile(rf"{name}\.(\d+)(\.\w+)?|{stem}-\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{{3}}{suffix}(\.\w+)?")
        found = []
        self.compressed = []
        for path in sorted(self.path.parent.iterdir()):
            match = rotated.fullmatch(path.name)
            if match is None:
                continue
            if match[2] or match[3]:
                self.compressed.append(path)
            else:
                found.append((-int(match[1] or 0), path))
        yield from (path for _, path in sorted(found))
        if self.path.exists():
            if not self.path.is_file():
                raise IsNotAFile(22, "it is not a regular file", str(self.path))
            yield self.path

    def _append(self, number: int, file: _File) -> None:
        """Index the lines after those that are known. A last line without its end counts once it is whole."""
        file.is_unfinished = False
        file.opened.seek(file.indexed_bytes)
        for text in file.opened:
            if not text.endswith(b"\n") and not _is_json(text):
                file.is_unfinished = True
                return
            line = (number, file.indexed_bytes, len(text))
            trace_ids = {id_bytes(name.decode(), 16) for name in _TRACE_ID.findall(text)}
            if not trace_ids and not text.isspace() and not _is_json(text):
                self.not_json.add(line)
            for trace_id in trace_ids:
                known = self._lines.get(trace_id)
                if known is None:
                    self._lines[trace_id] = line
                elif isinstance(known, tuple):
                    self._lines[trace_id] = [known, line]
                else:
                    known.append(line)
            file.indexed_bytes += len(text)


class IsNotAFile(OSError):
    """The path leads to something that can only be written, such as a named pipe or a terminal."""


def _is_json(text: bytes) -> bool:
    try:
        decode_json(text)
    except NotOtlp:
        return False
    return True
