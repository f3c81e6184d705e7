"""Load OTLP JSON files: one document in any layout, or one per line, with or without gzip."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.emulator.otlp import OtlpError, read_document
from netra_otel_bridge.emulator.store import Store

_GZIP_MAGIC = b"\x1f\x8b"


def load(path: Path, store: Store) -> None:
    """Add the spans in ``path`` to ``store``. Raises `ConfigurationError`, which names file and line."""
    for line, document in _documents(path, _text(path)):
        try:
            rejected = store.ingest(read_document(document))
        except OtlpError as error:
            raise ConfigurationError(f"{path}:{line}: {error}") from error
        if rejected:
            raise ConfigurationError(f"{path}:{line}: {rejected[0]}")


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        if data.startswith(_GZIP_MAGIC):
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(f"{path}: the gzip data is damaged: {error}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: not UTF-8") from error


def _documents(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder()
    position, line, counted = _skip(text, 0), 1, 0
    if position == len(text):
        raise ConfigurationError(f"{path}: the file is empty", hint="give a file with OTLP JSON")
    while position < len(text):
        line += text.count("\n", counted, position)
        counted = position
        try:
            document, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise ConfigurationError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"{path}:{line}: unreadable JSON: {error}") from error
        yield line, document
        position = _skip(text, end)


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position
