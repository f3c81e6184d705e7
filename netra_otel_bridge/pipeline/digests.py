"""Digests of trace summaries and checksums of spans, to detect changes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec

from netra_otel_bridge.core.json_text import write_json
from netra_otel_bridge.core.model.netra import TraceSummary

DIGEST_BYTES = 8
MAX_DIGESTS = 4
"""Maximum digests kept for a trace: each window that lists a part of it may summarize only that part."""
_CONFIRMED = b"c"
_ENTRY = struct.Struct(">QI")
_CARRIER = struct.Struct(">I")


def summary_digest(trace: TraceSummary) -> bytes:
    """Return a digest of a summary without its cursor; it differs when the trace changed."""
    fields = msgspec.structs.replace(trace, cursor=None)
    try:
        encoded = msgspec.msgpack.encode(fields)
    except (OverflowError, UnicodeEncodeError, RecursionError):
        encoded = write_json(msgspec.structs.asdict(fields)).encode()
    return blake2b(encoded, digest_size=DIGEST_BYTES).digest()


def pack_spans(spans: Mapping[int, int]) -> bytes:
    """Pack the checksums of spans, by span id, as `TraceRecord.spans`."""
    return b"".join(map(_ENTRY.pack, spans.keys(), spans.values()))


def unpack_spans(packed: bytes) -> dict[int, int]:
    """Unpack what `pack_spans` packed."""
    return dict(_ENTRY.iter_unpack(packed))


def pack_carriers(spans: Iterable[int], carriers: Mapping[int, int]) -> bytes:
    """Pack the checksums of the carriers of ``spans``, by span id, as `TraceRecord.carriers`."""
    packed = [_CARRIER.pack(carriers[span_id]) for span_id in spans]
    return packed[0] if len(set(packed)) == 1 else b"".join(packed)


def unpack_carriers(spans: Iterable[int], packed: bytes) -> dict[int, int]:
    """Unpack what `pack_carriers` packed for these spans, in the same order."""
    carriers = [carrier for (carrier,) in _CARRIER.iter_unpack(packed)]
    return dict.fromkeys(spans, carriers[0]) if len(carriers) == 1 else dict(zip(spans, carriers, strict=False))


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
