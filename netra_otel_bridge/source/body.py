"""Read the bodies of responses: complete, decompressed and within a cap, or not at all.

Inflation is incremental. It never holds more decoded bytes than the cap allows, so a gzip bomb costs one step. A gzip
stream is complete only when its trailer (CRC and length, RFC 1952, 2.3.1) was read and is correct.
"""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING

from netra_otel_bridge.core.errors import NetraResponseTooLarge, NetraUnavailable
from netra_otel_bridge.core.threads import in_thread
from netra_otel_bridge.source.calls import BodyRoom, NoRoom

if TYPE_CHECKING:
    import aiohttp

_STEP_BYTES = 1 << 19
"""Maximum bytes inflated in one step."""
LARGE_BYTES = 1 << 19
"""Bodies up to this size are inflated and decoded in the event loop, which takes some milliseconds; larger ones in a
thread."""
_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_GZIP_MAGIC = b"\x1f\x8b"


class CutAnswer(NetraUnavailable):
    """The body ended early, or differs from its headers. A retry may get a complete one."""


class UnaskedEncoding(NetraUnavailable):
    """The body has an encoding that was not requested."""


class Inflater:
    """Inflates a gzip body, of one or several members, or a deflate body, piece by piece, up to ``cap_bytes`` in all."""

    def __init__(self, encoding: str, cap_bytes: int) -> None:
        self._wbits = _WBITS[encoding]
        self._cap = cap_bytes
        self.size_bytes = 0
        self._body = io.BytesIO()
        self._inflate = zlib.decompressobj(self._wbits)

    def feed(self, data: bytes, until_bytes: int | None = None) -> bytes:
        """Inflate a piece, until the body has ``until_bytes``; return the rest of the piece.

        Raises `NetraResponseTooLarge` past the cap, `CutAnswer` for damaged data.
        """
        while data and (until_bytes is None or self.size_bytes < until_bytes):
            data = self.step(data)
        return data

    def step(self, data: bytes) -> bytes:
        """Inflate at most `_STEP_BYTES` of a piece that is not empty, and return the rest of it. Raises as `feed`."""
        if self._inflate.eof:
            if self._wbits != 31 or not _GZIP_MAGIC.startswith(data[:2]):
                raise CutAnswer("there are bytes after the end of the compressed body")
            self._inflate = zlib.decompressobj(self._wbits)
        try:
            part = self._inflate.decompress(data, min(_STEP_BYTES, self._cap - self.size_bytes + 1))
        except zlib.error as error:
            raise CutAnswer(f"the compressed body is damaged ({error})") from None
        self.size_bytes += len(part)
        if self.size_bytes > self._cap:
            raise too_large(self._cap)
        self._body.write(part)
        return self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail

    def finish(self) -> bytes:
        """Return the complete body. Raises `CutAnswer` if the stream has not ended."""
        if not self._inflate.eof:
            raise CutAnswer("the compressed body was cut off")
        return self._body.getvalue()


async def read_body(response: aiohttp.ClientResponse, cap_bytes: int, room: BodyRoom | None = None) -> bytes:
    """Return the complete decoded body, of which ``room`` bounds what is in memory.

    Raises `NetraResponseTooLarge`, `CutAnswer`, `UnaskedEncoding`, `NoRoom`, and aiohttp's errors.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    length = response.content_length
    if encoding in {"", "identity"}:
        if length is not None and length > cap_bytes:
            raise too_large(cap_bytes)
        if length is not None and length <= LARGE_BYTES:
            return await response.read()
        return await _read_plain(response, cap_bytes, room)
    if encoding not in _WBITS:
        raise UnaskedEncoding(f"the body is encoded as {encoding!r}, which was not requested")
    inflater = Inflater(encoding, cap_bytes)
    async for piece in response.content.iter_any():
        rest = inflater.feed(piece, LARGE_BYTES)
        while rest:
            rest = await in_thread(inflater.feed, rest, None if room is None else room.limit_bytes)
            _check_room(inflater.size_bytes, room)
    return inflater.finish()


async def _read_plain(response: aiohttp.ClientResponse, cap_bytes: int, room: BodyRoom | None) -> bytes:
    body = io.BytesIO()
    async for piece in response.content.iter_any():
        body.write(piece)
        if body.tell() > cap_bytes:
            raise too_large(cap_bytes)
        _check_room(body.tell(), room)
    return body.getvalue()


def _check_room(size_bytes: int, room: BodyRoom | None) -> None:
    """Raise `NoRoom` if a body has reached the limit and there is no memory for more."""
    while room is not None and size_bytes >= room.limit_bytes:
        if not room.grow():
            raise NoRoom


def too_large(cap_bytes: int) -> NetraResponseTooLarge:
    """Return the error for a body beyond the cap."""
    return NetraResponseTooLarge(
        f"the body holds more than {cap_bytes} decoded bytes",
        hint="the bridge requests smaller pages on its own; it cannot read a single item of this size",
    )
