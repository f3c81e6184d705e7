"""Pack the checksums of spans and of their carriers as a `TraceRecord` has them, and unpack them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

_ENTRY = struct.Struct(">QI")
_CARRIER = struct.Struct(">I")


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
    """Unpack what `pack_carriers` packed for these spans, in the same order; ``b""`` has none."""
    if not packed:
        return {}
    carriers = [carrier for (carrier,) in _CARRIER.iter_unpack(packed)]
    return dict.fromkeys(spans, carriers[0]) if len(carriers) == 1 else dict(zip(spans, carriers, strict=True))
