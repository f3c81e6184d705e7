"""Digests of traces and checksums of spans: how a change is recognized."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from netra_otel_bridge.core.model.netra import TraceSummary


def summary_digest(trace: TraceSummary) -> bytes:
    """What tells one state of a trace from another: all of its summary but the cursor."""
    fields = msgspec.structs.replace(trace, cursor=None)
    return blake2b(msgspec.msgpack.encode(fields), digest_size=DIGEST_BYTES).digest()


DIGEST_BYTES = 8
MAX_DIGESTS = 4
"""Summaries under which a trace counts as unchanged: each window that lists a part of it may sum up that part alone."""
_CONFIRMED = b"c"
_ENTRY = struct.Struct(">QI")


def pack_spans(spans: Mapping[int, int]) -> bytes:
    """`TraceRecord.spans` of span ids with their checksums."""
    return b"".join(map(_ENTRY.pack, spans.keys(), spans.values()))


def unpack_spans(packed: bytes) -> dict[int, int]:
    """The inverse of `pack_spans`."""
    return dict(_ENTRY.iter_unpack(packed))


def holds_digest(digests: bytes | None, digest: bytes) -> bool:
    """Whether ``digest`` is one of those of a `TraceRecord`."""
    return digests is not None and any(
        digests[at : at + DIGEST_BYTES] == digest for at in range(0, len(digests), DIGEST_BYTES)
    )


def is_confirmed(digests: bytes | None) -> bool:
    """Whether a trace was read a second time, and nothing new was found."""
    return digests is not None and digests.endswith(_CONFIRMED) and len(digests) % DIGEST_BYTES == len(_CONFIRMED)


def with_digest(digests: bytes | None, digest: bytes, *, confirmed: bool) -> bytes:
    """The digests of a record with ``digest`` first; the oldest fall off."""
    known = digests or b""
    others = [known[at : at + DIGEST_BYTES] for at in range(0, len(known) - DIGEST_BYTES + 1, DIGEST_BYTES)]
    kept = [digest, *(one for one in others if one != digest)][:MAX_DIGESTS]
    return b"".join(kept) + (_CONFIRMED if confirmed else b"")
