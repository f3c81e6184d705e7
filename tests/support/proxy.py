"""A TCP proxy on loopback whose network conditions a test changes while it runs.

Each direction has a `Link` of its own: ``proxy.up`` towards the server, ``proxy.down`` towards the client. A change
applies from the next bytes on, also to open connections. ``proxy.counts`` says what the proxy really did, so that a
test can assert that its fault happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

End = Literal["reset", "half-close", "stall"]
_Result = TypeVar("_Result")
_CHUNK_BYTES = 1 << 16
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Link:
    """The state of one direction.

    Bytes are delayed by ``latency_s``, pass at no more than ``bytes_per_s`` (0: no limit), and are written in slices of
    at most ``slice_bytes`` (0: as they come). With ``drop`` they are read and thrown away: a request then reaches the
    server, and its answer never comes back. After ``limit_bytes`` of one connection, ``end`` happens to it: both sides
    are reset, this direction alone ends, or it falls silent.
    """

    latency_s: float = 0.0
    bytes_per_s: float = 0.0
    slice_bytes: int = 0
    drop: bool = False
    limit_bytes: int | None = None
    end: End = "reset"


CLEAR = Link()


@dataclass(slots=True)
class Counts:
    """Counts of what the proxy did. ``refused`` counts connections that found no server behind it."""

    connections: int = 0
    refused: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    dropped_bytes: int = 0
    writes: int = 0
    resets: int = 0
    half_closes: int = 0
    stalls: int = 0


class _Connection:
    """Two sockets and the two tasks that carry bytes between them."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server

    def reset(self) -> None:
        for writer in (self.client, self.server):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()

    def close(self) -> None:
        for writer in (self.client, self.server):
            writer.close()


class Proxy:
    """A context manager that listens on a free port of 127.0.0.1 and passes everything on to ``port`` there."""

    def __init__(self, port: int) -> None:
        self.up = CLEAR
        self.down = CLEAR
        self.counts = Counts()
        self.port = 0
        self._target = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def instead_of(self, url: str) -> str:
        """Return ``url`` with this proxy's port in place of its own."""
        parts = urlsplit(url)
        return parts._replace(netloc=f"127.0.0.1:{self.port}").geturl()

    def listen(self) -> None:
        """Accept connections, on the same port as before."""
        self._wait(self._listen())

    def refuse(self) -> None:
        """Stop listening, so that new connections are refused, and reset those that are open."""
        self._wait(self._refuse())

    def reset(self) -> int:
        """Reset every open connection, and return how many there were."""
        return self._wait(self._reset())

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await self._reset()

    async def _reset(self) -> int:
        for connection in self._open:
            connection.reset()
        self.counts.resets += len(self._open)
        return len(self._open)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.counts.connections += 1
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            self.counts.refused += 1
            to_client.transport.abort()
            self._tasks.discard(task)
            return
        connection = _Connection(to_client, to_server)
        self._open.add(connection)
        try:
            await asyncio.gather(
                self._carry(connection, from_client, to_server, "up"),
                self._carry(connection, from_server, to_client, "down"),
            )
        except asyncio.CancelledError:
            connection.reset()
        finally:
            connection.close()
            self._open.discard(connection)
            self._tasks.discard(task)

    async def _carry(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str
    ) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                link: Link = getattr(self, way)
                if link.drop:
                    self.counts.dropped_bytes += len(data)
                    continue
                rest = None if link.limit_bytes is None else max(0, link.limit_bytes - passed)
                await self._pass(writer, data[:rest], link, way)
                passed += len(data[:rest])
                if rest is not None and rest <= len(data):
                    await self._finish(connection, writer, link.end)
                    return
            if writer.can_write_eof():
                writer.write_eof()

    async def _pass(self, writer: asyncio.StreamWriter, data: bytes, link: Link, way: str) -> None:
        if link.latency_s:
            await asyncio.sleep(link.latency_s)
        size = link.slice_bytes or len(data) or 1
        for start in range(0, len(data), size):
            part = data[start : start + size]
            writer.write(part)
            await writer.drain()
            self.counts.writes += 1
            setattr(self.counts, f"bytes_{way}", getattr(self.counts, f"bytes_{way}") + len(part))
            if link.bytes_per_s:
                await asyncio.sleep(len(part) / link.bytes_per_s)

    async def _finish(self, connection: _Connection, writer: asyncio.StreamWriter, end: End) -> None:
        match end:
            case "reset":
                self.counts.resets += 1
                connection.reset()
            case "half-close":
                self.counts.half_closes += 1
                writer.write_eof()
            case "stall":
                self.counts.stalls += 1
                await asyncio.Event().wait()

    def _wait(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
