"""Digests of trace summaries, to detect changes."""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from netra_otel_bridge.core.json_text import write_json
from netra_otel_bridge.core.model.netra import TraceSummary

DIGEST_BYTES = 8
MAX_DIGESTS = 4
"""Maximum digests kept for a trace: each window that lists a part of it may summarize only that part."""
_CONFIRMED = b"c"


def summary_digest(trace: TraceSummary) -> bytes:
    """Return a digest of a summary without its cursor; it differs when the trace changed."""
    fields = msgspec.structs.replace(trace, cursor=None)
    try:
        encoded = msgspec.msgpack.encode(fields)
    except (OverflowError, UnicodeEncodeError, RecursionError):
        encoded = write_json(msgspec.structs.asdict(fields)).encode()
    return blake2b(encoded, digest_size=DIGEST_BYTES).digest()


def holds_digest(digests: bytes | None, digest: bytes) -> bool:
    """Return whether ``digest`` is one of the ``digests`` of a `TraceRecord`."""
    return digests is not None and any(
        digests[at : at + DIGEST_BYTES] == digest for at in range(0, len(digests), DIGEST_BYTES)
    )


def is_confirmed(digests: bytes | None) -> bool:
    """Return whether a trace was read a second time and nothing new was found."""
    return digests is not None and digests.endswith(_CONFIRMED) and len(digests) % DIGEST_BYTES == len(_CONFIRMED)


def with_digest(digests: bytes | None, digest: bytes, *, confirmed: bool) -> bytes:
    """Return ``digests`` with ``digest`` first, at most `MAX_DIGESTS` of them; the oldest are dropped."""
    known = digests or b""
    others = [known[at : at + DIGEST_BYTES] for at in range(0, len(known) - DIGEST_BYTES + 1, DIGEST_BYTES)]
    kept = [digest, *(one for one in others if one != digest)][:MAX_DIGESTS]
    return b"".join(kept) + (_CONFIRMED if confirmed else b"")
