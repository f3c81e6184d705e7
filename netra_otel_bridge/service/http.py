"""``/livez``, ``/readyz`` and ``/metrics`` over HTTP.

A connection carries one request of bounded size and lives for a bounded time; when there are too many, the oldest is
closed. This way, idle or slow clients cannot block a probe. No response contains a credential.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from netra_otel_bridge.core.clock import NS_PER_S, Clock
from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.core.hosts import is_loopback
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.health import ClockHealth, LaneHealth, ServiceHealth, UsageHealth
from netra_otel_bridge.core.outside_text import escaped, escaped_json
from netra_otel_bridge.core.time_text import iso_ms

HOST_VARIABLE, PORT_VARIABLE = "OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT"
MAX_CONNECTIONS = 64
MAX_REQUEST_BYTES = 16 * 1024
DEADLINE_S = 10.0
"""The longest life of a connection, from its start to the last byte of the response."""
_SHUTDOWN_S = 1.0
_TEXT = "text/plain; charset=utf-8"
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
_INDEX = {
    "/livez": "200 while the process responds",
    "/readyz": "the state of each destination, one line each; JSON with Accept: application/json",
    "/metrics": "metrics in the format of Prometheus, if OTEL_METRICS_EXPORTER names prometheus",
}
_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:/@]+))(?::\d*)?")
_MISDIRECTED = b"""the Host of the request does not name this server
it listens on loopback: ask for localhost, 127.0.0.1 or [::1], or for the name in OTEL_EXPORTER_PROMETHEUS_HOST
"""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Page:
    body: bytes
    content_type: str = _TEXT
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpEndpoints:
    """Serves from `start` to `close`.

    ``health`` is called in the event loop. ``/metrics`` shows ``registry``, and does not exist without one. A separate
    thread collects it, one request at a time.
    """

    def __init__(
        self,
        host: str,
        port: int,
        health: Callable[[], ServiceHealth],
        registry: CollectorRegistry | None,
        clock: Clock,
    ) -> None:
        self._host = host
        self._port = port
        self._health = health
        self._registry = registry
        self._log_limit = LogLimit(clock)
        self._renderer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")
        self._runner: web.ServerRunner | None = None
        self._on_loopback = True

    async def start(self) -> tuple[str, int]:
        """Listen, and return the address with the port in use: port 0 picks a free one.

        Raises `ConfigurationError` if that is not possible, for example because the port is in use.
        """
        runner = web.ServerRunner(_Server(self._handle, self._log_limit), shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, reuse_port=False).start()
        except (OSError, UnicodeError) as error:
            await runner.cleanup()
            where = f"{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"
            raise ConfigurationError(
                f"cannot listen on {where}: {_cause(error)}",
                hint=f"{HOST_VARIABLE} and {PORT_VARIABLE} set the address; port 0 picks a free one",
            ) from error
        self._runner = runner
        host, port, *_ = runner.addresses[0]
        self._on_loopback = is_loopback(host)
        return host, port

    async def close(self) -> None:
        """Stop listening, and end open requests within a second or two. May be called twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        self._renderer.shutdown(wait=False, cancel_futures=True)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            page = await self._page(request)
        except Exception as error:  # noqa: BLE001  the boundary of the endpoints: a page that fails stops nothing else
            kind = type(error).__name__
            self._log_limit.log(_log, logging.ERROR, request.path, f"{request.path} failed: {kind}: {error}")
            page = _Page(f"this page failed: {kind}; see the log\n".encode(), status=500)
        headers = {"Content-Type": page.content_type, "Cache-Control": "no-store", "Server": "netra-otel-bridge"}
        response = web.Response(status=page.status, body=page.body, headers={**headers, **page.headers})
        response.force_close()
        return response

    async def _page(self, request: web.BaseRequest) -> _Page:
        if not self._is_addressed(request.headers.getall("Host", [])):
            return _Page(_MISDIRECTED, status=421)
        path, accept = request.path, request.headers.get("Accept", "")
        if path != "/" and path not in _INDEX:
            return _Page(f"not found; the pages are {', '.join(_INDEX)}\n".encode(), status=404)
        if request.method not in ("GET", "HEAD"):
            return _Page(b"only GET and HEAD are supported\n", status=405, headers={"Allow": "GET, HEAD"})
        if path == "/livez":
            return _Page(b"ok\n")
        if path == "/readyz":
            return _readiness(self._health(), as_json="application/json" in accept)
        if path == "/metrics":
            return await self._metrics(as_openmetrics="application/openmetrics-text" in accept)
        return _Page("".join(f"{one:10}{what}\n" for one, what in _INDEX.items()).encode())

    def _is_addressed(self, hosts: Sequence[str]) -> bool:
        """Return whether the request names this server.

        On loopback, a web page could otherwise read tenants with a name of its own that resolves to 127.0.0.1 (DNS
        rebinding). Its requests carry that name.
        """
        if not self._on_loopback:
            return True
        found = _HOST.fullmatch(hosts[0].strip()) if len(hosts) == 1 else None
        if found is None:
            return False
        name = found["address"] or found["name"]
        return is_loopback(name) or name.lower() == self._host.lower()

    async def _metrics(self, *, as_openmetrics: bool) -> _Page:
        if self._registry is None:
            return _Page(b"not found: OTEL_METRICS_EXPORTER does not name prometheus\n", status=404)
        render = openmetrics.generate_latest if as_openmetrics else generate_latest
        body = await asyncio.get_running_loop().run_in_executor(self._renderer, render, self._registry)
        return _Page(body, openmetrics.CONTENT_TYPE_LATEST if as_openmetrics else _EXPOSITION)


def _readiness(health: ServiceHealth, *, as_json: bool) -> _Page:
    """Return 200 if every lane follows live traffic and nothing blocks it, else 503; both list all lanes."""
    status = 200 if health.ready else 503
    if as_json:
        lanes = [_lane_json(lane, health.now_ns) for lane in health.lanes]
        document = {
            "ready": health.ready,
            "lanes": lanes,
            "usage": health.usage and _usage_json(health.usage),
            "clocks": _clock_json(health.clock),
        }
        text = escaped_json(msgspec.json.encode(document).decode())
        return _Page(f"{text}\n".encode(), "application/json", status=status)
    lines = [_lane_line(lane, health.now_ns) for lane in health.lanes]
    if health.usage is not None:
        lines.append(_usage_line(health.usage, health.now_ns))
    if health.clock.problem:
        lines.append(f"clocks: {health.clock.problem}, since {iso_ms(health.clock.problem_since_ns)}")
    lines = lines or ["ok, nothing to follow"]
    return _Page("".join(f"{escaped(line)}\n" for line in lines).encode(), status=status)


def _lane_line(lane: LaneHealth, now_ns: int) -> str:
    """Return ``NAME: ok, lag 31 s``. A negative lag means that a clock was or is wrong."""
    if lane.problem:
        since = f", since {iso_ms(lane.problem_since_ns)}" if lane.problem_since_ns else ""
        state = f"{'stopped: ' if lane.stopped else ''}{' '.join(lane.problem.split())}{since}"
    else:
        state = "stopped" if lane.stopped else "ok" if lane.passes else "the first pass is in progress"
    lag_s = _lag_s(lane, now_ns)
    return f"{lane.destination}: {state}, lag {'unknown' if lag_s is None else f'{round(lag_s)} s'}"


def _lane_json(lane: LaneHealth, now_ns: int) -> dict[str, Any]:
    document: dict[str, Any] = {
        "destination": lane.destination,
        "ok": bool(lane.passes) and not lane.problem and not lane.stopped,
        "stopped": lane.stopped,
        "problem": lane.problem.encode("utf-8", "backslashreplace").decode(),
        "lag_seconds": _lag_s(lane, now_ns),
        "read": lane.read,
        "delivered": lane.delivered,
        "refused": lane.refused,
        "dead_lettered": lane.dead_lettered,
        "held_back": lane.held_back,
        "retries": lane.retries,
    }
    if lane.arrival is not None:
        document["arrival"] = asdict(lane.arrival)
    times = {
        "problem_since": lane.problem_since_ns,
        "watermark": lane.watermark_ns,
        "checkpoint": lane.checkpoint_ns,
    }
    return {**document, **{name: iso_ms(ns) if ns else None for name, ns in times.items()}}


def _usage_line(usage: UsageHealth, now_ns: int) -> str:
    """Return ``usage: ok, polled 12 s ago``."""
    polled = f"polled {max(0, now_ns - usage.polled_ns) / NS_PER_S:.0f} s ago" if usage.polled_ns else "not polled yet"
    if usage.problem:
        return f"usage: {' '.join(usage.problem.split())}, since {iso_ms(usage.problem_since_ns)}, {polled}"
    return f"usage: ok, {polled}" if usage.polled_ns else f"usage: {polled}"


def _usage_json(usage: UsageHealth) -> dict[str, Any]:
    return {
        "ok": bool(usage.polled_ns) and not usage.problem,
        "problem": usage.problem.encode("utf-8", "backslashreplace").decode(),
        "problem_since": iso_ms(usage.problem_since_ns) if usage.problem_since_ns else None,
        "polled": iso_ms(usage.polled_ns) if usage.polled_ns else None,
    }


def _clock_json(clock: ClockHealth) -> dict[str, Any]:
    return {
        "ok": not clock.problem,
        "offset_seconds": None if clock.offset_ns is None else clock.offset_ns / NS_PER_S,
        "problem": clock.problem,
        "problem_since": iso_ms(clock.problem_since_ns) if clock.problem_since_ns else None,
    }


def _lag_s(lane: LaneHealth, now_ns: int) -> float | None:
    return (now_ns - lane.watermark_ns) / NS_PER_S if lane.watermark_ns else None


def _cause(error: Exception) -> str:
    if isinstance(error, socket.gaierror) or not isinstance(error, OSError) or not error.errno:
        return getattr(error, "strerror", None) or "not a host name"
    return os.strerror(error.errno)


class _Server(web.Server):
    """Makes `_Connection`s and lists the open ones, the oldest first."""

    def __init__(self, handler: Callable[[web.BaseRequest], Any], log_limit: LogLimit) -> None:
        super().__init__(handler)
        self.log_limit = log_limit
        self.open: dict[_Connection, None] = {}

    def __call__(self) -> _Connection:
        return _Connection(self)


class _Connection(web.RequestHandler):
    """A connection of aiohttp with limits: `MAX_CONNECTIONS`, `MAX_REQUEST_BYTES`, `DEADLINE_S`."""

    def __init__(self, server: _Server) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, access_log=None, lingering_time=0)  # type: ignore[arg-type]  # None: no log
        self._server = server
        self._received_bytes = 0
        self._wire: asyncio.Transport | None = None
        self._deadline = loop.call_later(DEADLINE_S, self.cut)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._wire = transport if isinstance(transport, asyncio.Transport) else None
        self._server.open[self] = None
        if len(self._server.open) > MAX_CONNECTIONS:
            next(iter(self._server.open)).cut()

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self._received_bytes > MAX_REQUEST_BYTES:
            self.cut()
        else:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._deadline.cancel()
        self._server.open.pop(self, None)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002  the signature is aiohttp's
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  it repeats what the client sent
    ) -> web.StreamResponse:
        """Respond briefly to input that is not HTTP, and log a line a minute at most, instead of each traceback."""
        kind = type(exc).__name__ if exc is not None else "no reason given"
        self._server.log_limit.log(_log, logging.DEBUG, "not HTTP", f"unreadable request: {kind}")
        response = web.Response(status=status, text="not a readable HTTP request\n")
        response.force_close()
        return response

    def cut(self) -> None:
        """Close the connection at once."""
        self._server.open.pop(self, None)
        if self._wire is not None:
            self._wire.abort()
