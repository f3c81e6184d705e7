"""JSON documents on stdout."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from netra_otel_bridge.core.outside_text import escaped_json


def write_json(document: Any) -> None:
    """Write one JSON document to stdout."""
    try:
        text = msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
    except (OverflowError, UnicodeEncodeError):  # an integer beyond 64 bits, an argument that is not UTF-8
        text = json.dumps(msgspec.to_builtins(document), indent=2)
    sys.stdout.write(escaped_json(text) + "\n")
