"""A gRPC client made of raw HTTP/2 frames: it reads only as much as its test allows, down to not one byte.

A client library reads ahead, tens of kilobytes a stream. This one opens a stream with a window of the test's choice, so
a server that writes to it has to wait at once.
"""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Any, Self

from tests.support.rpc import TOKEN

_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW_SIZE = 4


class RawCall:
    """One call on a connection of its own, of `BridgeService` unless ``method`` is a path.

    It lives until it is closed, and reads nothing of the answer.
    """

    def __init__(
        self, address: str, method: str, *messages: Any, window_bytes: int = 0, half_closes: bool = True
    ) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=20)
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, window_bytes)
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, settings))
        self._socket.recv(1)
        self._socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": method if method.startswith("/") else f"/netra_otel_bridge.v1.BridgeService/{method}",
            ":authority": address,
            "te": "trailers",
            "content-type": "application/grpc",
            "authorization": f"Bearer {TOKEN}",
        }
        block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers.items())
        frames = [_frame(_HEADERS, _END_HEADERS, 1, block)]
        for message in messages:
            encoded = message.SerializeToString()
            frames.append(_frame(_DATA, 0, 1, b"\x00" + len(encoded).to_bytes(4, "big") + encoded))
        if half_closes:
            frames.append(_frame(_DATA, _END_STREAM, 1, b""))
        self._socket.sendall(b"".join(frames))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self, *, reset: bool = False) -> None:
        """Close the connection, or reset it."""
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _text(text: str) -> bytes:
    """Return a literal of HPACK: its length in seven bits, and no Huffman code."""
    raw = text.encode()
    assert len(raw) < 127
    return bytes((len(raw),)) + raw
