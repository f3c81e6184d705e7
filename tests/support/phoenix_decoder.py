"""Phoenix's own decoder, which turns OTLP into what its pages show, without its server."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.deliver import encode_span
from tests.support.backends import PHOENIX, binary_or_skip

SCRIPT = Path(__file__).parent / "data" / "phoenix_decode.py"


def decode(spans: Sequence[ReadableSpan]) -> list[dict[str, Any]]:
    """Return what Phoenix makes of each span: ``attributes`` and ``kind``, or ``error``. Skips without Phoenix."""
    python = binary_or_skip(PHOENIX).parent / "bin" / "python"
    lines = "".join(f"{encode_span(span).hex()}\n" for span in spans)
    done = subprocess.run(
        [python, "-W", "ignore", SCRIPT], input=lines, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(shown) == len(spans)
    return shown


RICHER = ("llm.provider", "llm.system", "llm.model_name", "openinference.span.kind", "output.mime_type")
"""What Phoenix guesses of an older name, or of the model alone: another value may be a better one, but not none."""
COUNTS = ("llm.token_count.prompt", "llm.token_count.total")
"""Counts that may be larger, because some instrumentations leave cached tokens out."""
_MESSAGES = ("llm.input_messages.", "llm.output_messages.")
_SAID = ("content", "text", "arguments", "url", "name", "id", "tool_call_id")
"""The last words of the keys of what a message says."""
_SAME = {"llm.system": "llm.provider", "llm.model_name": "embedding.model_name"}
"""Facts that another key can carry better: no system of OpenInference, but its provider; the model of an embedding."""


def lost(raw: dict[str, Any], there: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what Phoenix shows of the one and not of the other: decoded attributes, by path, with both values.

    Messages may be numbered otherwise, and are compared by what they say.
    """
    before, after = dict(leaves(raw)), dict(leaves(there))
    missing = {
        path: (value, after.get(path))
        for path, value in before.items()
        if not path.startswith(_MESSAGES) and not _is_as_good(path, value, after)
    }
    for prefix in _MESSAGES:
        words = [said for path, said in leaves(there) if path.startswith(prefix)]
        missing |= {
            path: (value, None)
            for path, value in before.items()
            if path.startswith(prefix) and path.endswith(_SAID) and not any(_says(value, word) for word in words)
        }
    return missing


def _is_as_good(path: str, value: Any, after: dict[str, Any]) -> bool:
    now = after.get(path, after.get(_SAME.get(path, "")))
    if now == value:
        return True
    if _is_nan(value):
        return now is not None
    if path in RICHER:
        return now is not None
    if path in COUNTS:
        return isinstance(now, int) and now >= value
    if path == "output.value":
        return now is not None and _is_guess(value)
    if path.startswith("llm.tools."):
        return now is not None and _has(json.loads(value), json.loads(now))
    if path == "llm.invocation_parameters":
        moved = now or after.get("embedding.invocation_parameters")
        return after.get("openinference.span.kind") == "RERANKER" or (
            moved is not None and _has(json.loads(value), json.loads(moved))
        )
    return False


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _is_guess(value: Any) -> bool:
    """Return whether it is the output that Phoenix makes up of a response's id and model."""
    try:
        return isinstance(decoded := json.loads(value), dict) and decoded.keys() <= {"id", "model"}
    except (TypeError, ValueError):
        return False


def _has(less: Any, more: Any) -> bool:
    """Return whether JSON holds all of another; numbers as text are numbers."""
    if isinstance(less, dict):
        return isinstance(more, dict) and all(key in more and _has(value, more[key]) for key, value in less.items())
    return bool(less == more) or (isinstance(less, str) and isinstance(more, int | float) and float(less) == more)


def _says(value: Any, word: Any) -> bool:
    """Return whether a value is what another says, as JSON or as the texts that a list of parts holds."""
    if value == word:
        return True
    try:
        meant = json.loads(value)
    except (TypeError, ValueError):
        return False
    if isinstance(meant, list) and all(isinstance(part, dict) for part in meant):
        return bool(word == "".join(str(part.get("text", "")) for part in meant)) or _is_json(word, meant)
    return _is_json(word, meant)


def _is_json(word: Any, meant: Any) -> bool:
    try:
        return bool(json.loads(word) == meant)
    except (TypeError, ValueError):
        return False


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Return each value in nested attributes with its path. Lists of plain values are values."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{index}")
    else:
        yield path, value
