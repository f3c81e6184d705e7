"""A server on loopback that answers each request with the next item of its script, byte for byte.

It is written on bare sockets, because no HTTP server would give the answers that matter here.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

from tests.support.waiting import DEADLINE_S

End = Literal["keep", "close", "reset", "hang"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that arrived: header names in lower case, values of a repeated header joined with a comma."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes to write, ``step`` at a time with ``pause_s`` between, and what happens to the connection then."""

    raw: bytes
    end: End = "keep"
    step: int = 0
    pause_s: float = 0.0
    head: bytes = field(default=b"")


Script = Sequence[Reply] | Callable[[Request], Reply]


def reply(
    body: bytes = b"",
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
    length: int | None = None,
    end: End = "keep",
) -> Reply:
    """Return an HTTP answer. If ``length`` differs from the size of the body, the header lies; ``end`` says what follows."""
    lines = [f"HTTP/1.1 {status} Said So", f"Content-Type: {content_type}"]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode()
    return Reply(head + body, end=end, head=head)


def json_reply(value: Any, **options: Any) -> Reply:
    """Return an HTTP answer that carries ``value``."""
    return reply(json.dumps(value).encode(), **options)


def gzip_reply(value: Any) -> Reply:
    """Return an HTTP answer that carries ``value``, compressed as the client asks for."""
    return reply(gzip.compress(json.dumps(value).encode()), headers={"Content-Encoding": "gzip"})


def page(items: Sequence[Any], more: Any = False) -> dict[str, Any]:
    """Return ``items`` in Netra's envelope."""
    return {"data": {"data": list(items), "pageInfo": {"hasNextPage": more}}}


def trace(number: int, **fields: Any) -> dict[str, Any]:
    """Return a trace summary with an id and a cursor of its own."""
    return {"id": f"{number:032x}", "name": f"trace {number}", "cursor": f"c{number}", **fields}


def span(number: int, **fields: Any) -> dict[str, Any]:
    """Return a span with an id and a cursor of its own."""
    return {
        "id": f"{number:016x}",
        "trace_id": "ab" * 16,
        "name": f"span {number}",
        "kind": "GENERATION",
        "start_time_ms": "1763251200000.123456",
        "attributes": '{"a": 1}',
        "cursor": f"c{number}",
        **fields,
    }


class ScriptedApi:
    """An async context manager. Past the end of a list of replies, the last one is repeated."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.asked = asyncio.Event()
        self.connections = 0
        self._script = script
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        """The URL that ``NETRA_OTLP_ENDPOINT`` would name."""
        return f"{self.url}/telemetry"

    async def __aenter__(self) -> ScriptedApi:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._ending.set()
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)  # aborted transports close their sockets in the next turn of the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                self.asked.set()
                if not await self._answer(self._next(request), writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    def _next(self, request: Request) -> Reply:
        if callable(self._script):
            return self._script(request)
        return self._script[min(len(self.requests), len(self._script)) - 1]

    async def _answer(self, answer: Reply, writer: asyncio.StreamWriter) -> bool:
        """Write an answer, and return whether the connection stays open."""
        step = answer.step or max(1, len(answer.raw))
        for start in range(0, len(answer.raw), step):
            writer.write(answer.raw[start : start + step])
            await writer.drain()
            if answer.pause_s and await self._ends_within(answer.pause_s):
                return False
        if answer.end == "hang":
            await self._ending.wait()
        if answer.end == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        return answer.end == "keep"

    async def _ends_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._ending.wait(), seconds)
        except TimeoutError:
            return False
        return True


class ServerThread:
    """A scripted API on a thread of its own, for blocking clients."""

    def __init__(self, script: Script) -> None:
        self.api = ScriptedApi(script)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> ScriptedApi:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.api.__aenter__(), self._loop).result(DEADLINE_S)
        return self.api

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.api.__aexit__(None, None, None), self._loop).result(DEADLINE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    line = await reader.readline()
    if not line:
        return None
    if line.count(b" ") != 2:
        return Request("not HTTP", "", {}, line)
    method, target, _ = line.decode().split(" ", 2)
    headers: dict[str, str] = {}
    while (line := await reader.readline()) not in {b"\r\n", b""}:
        name, _, value = line.decode("latin-1").partition(":")
        name = name.strip().lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body)
