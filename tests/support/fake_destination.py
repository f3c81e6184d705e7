"""An OTLP server on loopback, over gRPC and HTTP, that treats each request as its script says.

It is a real server because the tests also cover the wire, the stock exporters and TLS.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import grpc
import trustme
from aiohttp import web
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)


@dataclass(frozen=True, slots=True)
class Accept:
    """Store the request and answer that it was accepted."""


@dataclass(frozen=True, slots=True)
class PartialSuccess:
    """Store the request, and answer that ``rejected`` of its spans were rejected (0 is a warning)."""

    rejected: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class Reject:
    """Store nothing and answer with a status: ``code`` over gRPC, ``http`` over HTTP, ``text`` over both.

    ``retry_after_s`` is sent as ``RetryInfo`` over gRPC and as ``Retry-After`` over HTTP.
    """

    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    http: int = 503
    text: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Hang:
    """Do not answer until the server ends."""


@dataclass(frozen=True, slots=True)
class CutAfterStoring:
    """Store the request and lose the answer."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Answer exactly this; over HTTP only."""

    status: int
    body: bytes
    headers: Mapping[str, str]


Decision = Accept | PartialSuccess | Reject | Hang | CutAfterStoring | Raw


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came in, whatever was answered. ``headers`` are gRPC metadata or HTTP headers, in lower case."""

    transport: str
    request: ExportTraceServiceRequest
    headers: dict[str, str]
    size_bytes: int


class FakeDestination(TraceServiceServicer):
    """A context manager. ``script(...)`` queues decisions, one per request; after them every request is accepted.

    ``received`` has every request, ``stored`` those that a real server would have kept. ``max_message_bytes`` limits
    gRPC messages (4 MiB by default, as gRPC does) and HTTP bodies (20 MiB, as the Collector does).
    """

    def __init__(
        self,
        *,
        certificate: trustme.LeafCert | None = None,
        max_message_bytes: int | None = None,
        grpc_port: int = 0,
        http_port: int = 0,
    ) -> None:
        self.received: list[Received] = []
        self.stored: list[ExportTraceServiceRequest] = []
        self.grpc_port = grpc_port
        self.http_port = http_port
        self._certificate = certificate
        self._max_grpc_bytes = max_message_bytes or 4 << 20
        self._max_http_bytes = max_message_bytes or 20 << 20
        self._decisions: deque[Decision] = deque()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._http_thread = threading.Thread(target=self._serve_http, daemon=True)
        self._http_ready = threading.Event()

    def script(self, *decisions: Decision) -> None:
        """Queue what to do with the next requests, whichever port they come on."""
        with self._lock:
            self._decisions.extend(decisions)

    @property
    def grpc_url(self) -> str:
        """The gRPC port as a ``DEST``."""
        return f"otlp+grpc{'s' if self._certificate else ''}://127.0.0.1:{self.grpc_port}"

    @property
    def http_url(self) -> str:
        """The HTTP port as a ``DEST``."""
        return f"otlp+http{'s' if self._certificate else ''}://127.0.0.1:{self.http_port}"

    def stored_ids(self) -> list[tuple[str, str]]:
        """Return trace and span ids of all stored spans, in order, in hex."""
        return [
            (span.trace_id.hex(), span.span_id.hex())
            for request in self.stored
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def __enter__(self) -> FakeDestination:
        self._grpc_server = grpc.server(
            ThreadPoolExecutor(8),
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", self._max_grpc_bytes)],
        )
        add_TraceServiceServicer_to_server(self, self._grpc_server)
        address = f"127.0.0.1:{self.grpc_port}"
        if self._certificate is None:
            self.grpc_port = self._grpc_server.add_insecure_port(address)
        else:
            key, chain = self._certificate.private_key_pem.bytes(), self._certificate.cert_chain_pems
            credentials = grpc.ssl_server_credentials([(key, b"".join(pem.bytes() for pem in chain))])
            self.grpc_port = self._grpc_server.add_secure_port(address, credentials)
        self._grpc_server.start()
        self._http_thread.start()
        self._http_ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._grpc_server.stop(grace=0.2).wait()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._http_thread.join()

    def _decide(self, received: Received) -> Decision:
        with self._lock:
            self.received.append(received)
            decision = self._decisions.popleft() if self._decisions else Accept()
            if isinstance(decision, Accept | PartialSuccess | CutAfterStoring):
                self.stored.append(received.request)
            return decision

    # The generated service prescribes this name.
    def Export(  # noqa: N802
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        match self._decide(Received("grpc", request, metadata, request.ByteSize())):
            case Accept() | Raw():
                return ExportTraceServiceResponse()
            case PartialSuccess(rejected, message):
                return _partial(rejected, message)
            case Reject(code, _, text, retry_after_s):
                if retry_after_s is not None:
                    context.set_trailing_metadata(
                        (("grpc-status-details-bin", _status(code, text, retry_after_s).SerializeToString()),)
                    )
                context.abort(code, text)
            case Hang():
                self._ending.wait()
                context.abort(grpc.StatusCode.UNAVAILABLE, "the server ends")
            case CutAfterStoring():
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        raise AssertionError("abort raises")

    async def _export(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        if len(body) > self._max_http_bytes:
            return _http_status(400, grpc.StatusCode.INVALID_ARGUMENT, "http: request body too large")
        message = ExportTraceServiceRequest.FromString(body)
        headers = {key.lower(): value for key, value in request.headers.items()}
        match self._decide(Received("http", message, headers, len(body))):
            case Accept():
                return _protobuf(200, ExportTraceServiceResponse())
            case PartialSuccess(rejected, message_text):
                return _protobuf(200, _partial(rejected, message_text))
            case Reject(code, http, text, retry_after_s):
                response = _http_status(http, code, text)
                if retry_after_s is not None:
                    response.headers["Retry-After"] = f"{retry_after_s:g}"
                return response
            case Raw(status, raw_body, raw_headers):
                return web.Response(status=status, body=raw_body, headers=raw_headers)
            case Hang():
                await asyncio.get_running_loop().run_in_executor(None, self._ending.wait)
            case CutAfterStoring():
                pass
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _serve_http(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/v1/traces", self._export)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        tls: ssl.SSLContext | None = None
        if self._certificate is not None:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._certificate.configure_cert(tls)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", self.http_port, ssl_context=tls)
        self._loop.run_until_complete(site.start())
        self.http_port = runner.addresses[0][1]
        self._http_ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


def _partial(rejected: int, message: str) -> ExportTraceServiceResponse:
    return ExportTraceServiceResponse(
        partial_success=ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    )


def _status(code: grpc.StatusCode, text: str, retry_after_s: float | None = None) -> RpcStatus:
    status = RpcStatus(code=code.value[0], message=text)
    if retry_after_s is not None:
        info = RetryInfo()
        info.retry_delay.FromMilliseconds(int(retry_after_s * 1000))
        detail = AnyMessage()
        detail.Pack(info)
        status.details.append(detail)
    return status


def _http_status(http: int, code: grpc.StatusCode, text: str) -> web.Response:
    return _protobuf(http, _status(code, text))


def _protobuf(http: int, message: Any) -> web.Response:
    return web.Response(status=http, body=message.SerializeToString(), content_type="application/x-protobuf")
