"""Faults in sending a response: cut, slow, endless, compressed, or not sent at all."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import zlib
from dataclasses import replace

from aiohttp import web

from netra_otel_bridge.emulator.faults import Answer, Call, Fault, FirstN

_HANG_S = 3600.0
_MIB = 1 << 20
_FILLER = b'"' + b"x" * 65_533 + b'",'
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def _stream(answer: Answer, length: int | None = None) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=dict(answer.headers))
    if length is not None:
        response.content_length = length
    return response


class CutBody(FirstN):
    """Announces the full length, sends half, and closes the connection."""

    async def send(self, call: Call, answer: Answer, /) -> web.StreamResponse | None:
        if not self.strikes():
            return None
        response = _stream(answer, len(answer.body))
        await response.prepare(call.request)
        await response.write(answer.body[: len(answer.body) // 2])
        if call.request.transport is not None:
            call.request.transport.close()
        return response


class Reset(FirstN):
    """Resets the TCP connection instead of answering."""

    async def send(self, call: Call, answer: Answer, /) -> web.StreamResponse | None:
        if not self.strikes():
            return None
        transport = call.request.transport
        if transport is not None:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()
        return web.Response(status=answer.status)


class Hang(FirstN):
    """Does not respond for an hour."""

    async def send(self, _call: Call, answer: Answer, /) -> web.StreamResponse | None:
        if not self.strikes():
            return None
        await asyncio.sleep(_HANG_S)
        return web.Response(status=answer.status, body=answer.body)


class SlowBody(Fault):
    """Sends one byte at a time, with a pause after each."""

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s

    async def send(self, call: Call, answer: Answer, /) -> web.StreamResponse | None:
        response = _stream(answer, len(answer.body))
        await response.prepare(call.request)
        for offset in range(len(answer.body)):
            await response.write(answer.body[offset : offset + 1])
            await asyncio.sleep(self._pause_s)
        return response


class HugeBody(Fault):
    """Sends a document that starts correctly and continues for ``size`` bytes, or endlessly."""

    def __init__(self, size: int | None) -> None:
        self._size = size

    async def send(self, call: Call, answer: Answer, /) -> web.StreamResponse | None:
        response = _stream(answer)
        await response.prepare(call.request)
        await response.write(b'{"data":{"data":[')
        sent = 0
        while self._size is None or sent < self._size:
            await response.write(_FILLER)
            sent += len(_FILLER)
        return response


class Gzip(FirstN):
    """Compresses answers for clients that accept it, whole or cut."""

    def __init__(self, n: int | None, *, cut_half: bool = False, cut_trailer: bool = False) -> None:
        super().__init__(n)
        self._cut_half = cut_half
        self._cut_trailer = cut_trailer

    def alter(self, call: Call, answer: Answer, /) -> Answer:
        encoded = any(name == "Content-Encoding" for name, _ in answer.headers)
        accepted = "gzip" in call.request.headers.get("Accept-Encoding", "")
        if encoded or not accepted or not self.strikes():
            return answer
        packed = gzip.compress(answer.body, compresslevel=1)
        if self._cut_half:
            packed = packed[: len(packed) // 2]
        if self._cut_trailer:
            packed = packed[:-4]
        return replace(answer, body=packed, headers=(*answer.headers, ("Content-Encoding", "gzip")))


class Encoding(Fault):
    """Claims an encoding that the client did not accept."""

    def __init__(self, name: str) -> None:
        self._name = name

    def alter(self, _call: Call, answer: Answer, /) -> Answer:
        return replace(answer, headers=(*answer.headers, ("Content-Encoding", self._name)))


class GzipBomb(Fault):
    """Sends a small, valid gzip member that expands to ``size_mib`` MiB of spaces."""

    def __init__(self, size_mib: int) -> None:
        self._bomb = bomb(size_mib)

    def alter(self, _call: Call, answer: Answer, /) -> Answer:
        return replace(answer, body=self._bomb, headers=(*answer.headers, ("Content-Encoding", "gzip")))


def bomb(size_mib: int) -> bytes:
    """Return ``size_mib`` MiB of spaces as gzip: one compressed, flushed block, repeated."""
    blank = b" " * _MIB
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(blank) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(size_mib):
        checksum = zlib.crc32(blank, checksum)
    header = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    return header + block * size_mib + packer.flush() + struct.pack("<II", checksum, (size_mib * _MIB) & 0xFFFFFFFF)
