"""The emulator for tests: OTLP requests to feed it, a client to ask it, and a thread to run it in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import aiohttp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from netra_otel_bridge.emulator import Emulator, EmulatorOptions

START_NS = 1_795_349_300_000_000_000
EVER = {"startTime": "1980-01-01T00:00:00.000Z", "endTime": "2200-01-01T00:00:00.000Z"}
_Result = TypeVar("_Result")


def otlp_value(value: Any) -> dict[str, Any]:
    """Return a Python value as an OTLP JSON ``AnyValue``."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [otlp_value(item) for item in value]}}
        case _:
            return {"stringValue": str(value)}


def otlp_attributes(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a dictionary as OTLP JSON key/values."""
    return [{"key": key, "value": otlp_value(value)} for key, value in attributes.items()]


def otlp_span(
    trace: int,
    span: int,
    *,
    start_ns: int = START_NS,
    duration_ns: int = 1_000_000,
    parent: int = 0,
    attributes: dict[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Return a span in OTLP JSON, with small numbers for ids."""
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{span:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": f"span-{span}",
        "kind": 1,
        "startTimeUnixNano": str(start_ns),
        "endTimeUnixNano": str(start_ns + duration_ns),
        "attributes": otlp_attributes(attributes or {}),
        **fields,
    }


def otlp_document(*spans: dict[str, Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return an export request in OTLP JSON around ``spans``."""
    attributes = otlp_attributes(resource or {"service.name": "shop"})
    return {"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [{"spans": list(spans)}]}]}


class Client:
    """A client that asks an emulator as an SDK does."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.url = url
        self._session = aiohttp.ClientSession(headers=headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def raw(self, method: str, path: str, **kwargs: Any) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of one request, without following redirects."""
        async with self._session.request(method, self.url + path, allow_redirects=False, **kwargs) as response:
            return response.status, dict(response.headers), await response.read()

    async def json(self, method: str, path: str, *, status: int = 200, **kwargs: Any) -> Any:
        """Return the JSON answer, whose status must be ``status``."""
        async with self._session.request(method, self.url + path, **kwargs) as response:
            assert response.status == status, (response.status, await response.text())
            return await response.json()

    async def send(self, *spans: dict[str, Any], resource: dict[str, Any] | None = None) -> None:
        """Send spans as OTLP JSON."""
        await self.json("POST", "/telemetry/v1/traces", json=otlp_document(*spans, resource=resource))

    async def traces(
        self, *, window: dict[str, str] | None = None, status: int = 200, pagination: Any = None, **query: Any
    ) -> Any:
        """Return one page of traces (the object with ``data`` and ``pageInfo``), or the whole answer if it is an error."""
        body = {**(window or EVER), "pagination": pagination or {}, **query}
        answer = await self.json("POST", "/sdk/traces", json=body, status=status)
        return answer["data"] if status == 200 else answer

    async def spans(self, trace_id: str, *, status: int = 200, **params: Any) -> Any:
        """Return one page of a trace's spans, or the whole answer if it is an error."""
        answer = await self.json("GET", f"/sdk/traces/{trace_id}/spans", params=params, status=status)
        return answer["data"] if status == 200 else answer


class ThreadedEmulator:
    """An emulator that serves from its own thread and event loop."""

    def __init__(self, emulator: Emulator, loop: asyncio.AbstractEventLoop) -> None:
        self.emulator = emulator
        self.url = emulator.url
        self.endpoint = emulator.endpoint
        self._loop = loop

    def call(self, function: Callable[[], _Result]) -> _Result:
        """Run ``function`` on the emulator's loop, the only place where its store and faults may be changed."""

        async def run() -> _Result:
            return function()

        return self.wait(run())

    def wait(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def ingest(self, request: ExportTraceServiceRequest | bytes) -> list[str]:
        """Put spans into the store, and return why any were rejected."""
        return self.call(lambda: self.emulator.store.ingest(request))

    def set_faults(self, *names: str) -> None:
        self.call(lambda: self.emulator.set_faults(*names))


@contextmanager
def running_emulator(options: EmulatorOptions | None = None) -> Iterator[ThreadedEmulator]:
    """Run an emulator in a thread, on any free port unless the options name one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="emulator", daemon=True)
    thread.start()
    emulator = Emulator(options)
    try:
        asyncio.run_coroutine_threadsafe(emulator.__aenter__(), loop).result(60)
        try:
            yield ThreadedEmulator(emulator, loop)
        finally:
            asyncio.run_coroutine_threadsafe(emulator.__aexit__(None, None, None), loop).result(30)
    finally:
        asyncio.run_coroutine_threadsafe(_end_tasks(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _end_tasks() -> None:
    """End tasks that still serve clients that went away during a request."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
