"""`Emulator` combines the store, the API and the server; `serve` runs one until a signal."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from netra_otel_bridge.core.errors import ConfigurationError, UsageError
from netra_otel_bridge.emulator.api import Api
from netra_otel_bridge.emulator.fault_table import FAULTS
from netra_otel_bridge.emulator.faults import Faults
from netra_otel_bridge.emulator.load import load
from netra_otel_bridge.emulator.sample_traffic import Traffic
from netra_otel_bridge.emulator.server import Handler
from netra_otel_bridge.emulator.store import CACHE_BYTES, Store
from netra_otel_bridge.emulator.trace_query import Windowing

_DAY_NS = 86_400_000_000_000
_MAX_REQUEST_BYTES = 64 * 1024 * 1024
_SHUTDOWN_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorOptions:
    """The options of ``netra-otel-bridge emulator``, and a few more.

    ``seed`` or ``traces`` enables sample traffic (by default seed 0 and 100 traces), spread over ``range_ns`` before
    ``end_ns`` (default: now). ``windowing`` determines how the trace list applies its range (see ``trace_query``). At
    most ``cache_bytes`` of JSON of sample spans are cached; the process takes about twice that. ``warm`` fills the
    cache before serving, for benchmarks.
    """

    host: str = "127.0.0.1"
    port: int = 9900
    load: tuple[Path, ...] = ()
    seed: int | None = None
    traces: int | None = None
    spans_per_trace: int = 10
    end_ns: int | None = None
    range_ns: int = _DAY_NS
    latency_s: float = 0.0
    rate_limit: float | None = None
    faults: tuple[str, ...] = ()
    api_key: str | None = None
    windowing: Windowing = "traces"
    cache_bytes: int = CACHE_BYTES
    warm: bool = False


class Emulator:
    """A local Netra that serves during its ``async with`` block.

    Raises `UsageError` for an unknown fault, and on entering `ConfigurationError` if a file cannot be loaded or the
    port is in use.
    """

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        self.options = options or EmulatorOptions(port=0)
        self.store = Store(cache_bytes=self.options.cache_bytes)
        self._handler = Handler(
            self.store,
            Api(self.store, self.options.windowing),
            Faults(self.options.faults, FAULTS),
            api_key=self.options.api_key,
            latency_s=self.options.latency_s,
            rate_limit=self.options.rate_limit,
        )
        self._runner: web.ServerRunner | None = None
        self._port = self.options.port

    @property
    def url(self) -> str:
        """Return the base URL of the API."""
        host = self.options.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    @property
    def endpoint(self) -> str:
        """Return the value for ``NETRA_OTLP_ENDPOINT``."""
        return f"{self.url}/telemetry"

    @property
    def calls(self) -> Counter[str]:
        """Return the number of API calls by name.

        `routes` has the names: ``traces``, ``spans``, ``tenant_usage``, ``query_data``, ...
        """
        return self._handler.calls

    @property
    def status(self) -> Counter[int]:
        """Return the number of responses to API calls by HTTP status."""
        return self._handler.status

    def set_faults(self, *names: str) -> None:
        """Replace the active faults with these; without names, end all faults."""
        self.use_faults(Faults(names, FAULTS))

    def use_faults(self, faults: Faults) -> None:
        """Replace the active faults with these, which may include a program's own."""
        self._handler.set_faults(faults)

    async def __aenter__(self) -> Self:
        self._fill()
        loop = asyncio.get_running_loop()

        def make_request(
            message: RawRequestMessage,
            payload: StreamReader,
            protocol: RequestHandler,
            writer: AbstractStreamWriter,
            task: asyncio.Task[None],
        ) -> web.BaseRequest:
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_MAX_REQUEST_BYTES)

        server = web.Server(self._handler.handle, request_factory=make_request, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.options.host, self.options.port).start()
        except OSError as error:
            await runner.cleanup()
            where = f"{self.options.host}:{self.options.port}"
            raise ConfigurationError(
                f"cannot listen on {where}: {error.strerror or error}",
                hint="choose another port with --port; 0 picks a free one",
            ) from error
        self._port = runner.addresses[0][1]
        self._runner = runner
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _fill(self) -> None:
        options = self.options
        if options.seed is not None or options.traces is not None:
            traces = 100 if options.traces is None else options.traces
            if traces < 0 or options.spans_per_trace < 1 or options.range_ns < 1:
                raise UsageError("sample traffic needs --traces of at least 0 and --spans-per-trace of at least 1")
            traffic = Traffic(
                seed=options.seed or 0,
                traces=traces,
                spans_per_trace=options.spans_per_trace,
                end_ns=time.time_ns() if options.end_ns is None else options.end_ns,
                range_ns=options.range_ns,
            )
            self.store.add_recipes(traffic.recipes(), traffic.locate)
        for path in options.load:
            load(path, self.store)
        if options.warm:
            self.store.warm()


def serve(options: EmulatorOptions, announce: Callable[[Emulator], None] | None = None) -> None:
    """Run an emulator until SIGINT or SIGTERM. Once ready, print its address in one line, or call ``announce``."""
    asyncio.run(_serve(options, announce or _announce))


async def _serve(options: EmulatorOptions, announce: Callable[[Emulator], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Emulator(options) as emulator:
        announce(emulator)
        sys.stdout.flush()
        await stop.wait()


def _announce(emulator: Emulator) -> None:
    sys.stdout.write(f"Netra emulator ready at {emulator.url} (NETRA_OTLP_ENDPOINT={emulator.endpoint})\n")
