"""Cut a stream of spans into chunks."""

from __future__ import annotations

CHUNK_SPANS = 512
CHUNK_BYTES = 512 * 1024
CHUNK_PROBLEMS = 100
