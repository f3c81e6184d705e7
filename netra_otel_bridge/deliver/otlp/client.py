"""Send OTLP over gRPC and over HTTP: one request per batch, and an `Outcome` for each response.

The stock exporters hide partial success, follow or ignore redirects, retry requests that are too large, and spend most
CPU time on encoding (ADR 0007). These two destinations send the bytes that `encode` made, never retry by themselves,
and follow no redirect.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import ssl
import zlib
from collections.abc import Mapping

import aiohttp
import grpc
import grpc.aio
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from yarl import URL

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.core.model.outcome import Delivered, Outcome, SpanBatch
from netra_otel_bridge.core.outside_text import header_secrets
from netra_otel_bridge.core.threads import in_thread
from netra_otel_bridge.core.time_text import parse_retry_after
from netra_otel_bridge.deliver.answers import (
    client_certificate_outcome,
    connection_outcome,
    ended_silently,
    grpc_outcome,
    http_outcome,
    is_tls_version,
    no_answer,
    not_otlp_outcome,
    partial_outcome,
    shown,
    web_page_outcome,
)
from netra_otel_bridge.deliver.otlp.encode import encode_empty_request, encode_request
from netra_otel_bridge.deliver.otlp.settings import OtlpSettings
from netra_otel_bridge.deliver.rpc_status import retry_info_s

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_ANSWER_BYTES = 64 * 1024
_ZLIB = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP_OR_ZLIB = 47
"""The ``wbits`` with which zlib finds out by itself which of the two it reads."""
_LOOK_S = 2.0
_CHANNEL = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.enable_http_proxy", 0),
)


class OtlpGrpcDestination:
    """Sends to an OTLP receiver over gRPC. No connection is made before the first `send`.

    Raises `ConfigurationError` when a certificate cannot be used.
    """

    def __init__(self, name: str, settings: OtlpSettings) -> None:
        self.name = name
        self._settings = settings
        settings.ssl_context()
        self._secrets = header_secrets(settings.headers)
        self._closed = False
        self._metadata = tuple(_metadatum(key.lower(), value) for key, value in settings.headers.items())
        self._channel: grpc.aio.Channel | None = None

    async def send(self, batch: SpanBatch) -> Outcome:
        """Make one ``Export`` call, within the configured timeout."""
        return await self._export(encode_request(batch.spans, batch.encoded), len(batch.spans))

    async def send_empty(self, size_bytes: int) -> Outcome:
        """Make one ``Export`` call of about ``size_bytes`` without spans."""
        return await self._export(encode_empty_request(size_bytes), 0)

    async def _export(self, body: bytes, spans: int) -> Outcome:
        """Send an ``ExportTraceServiceRequest`` that is encoded already and has this number of ``spans``."""
        export: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._open().unary_unary(METHOD)
        try:
            answer: bytes = await export(body, timeout=self._settings.timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            details = {key: value for key, value in error.trailing_metadata() or ()}  # noqa: C416  dict() cannot read that of gRPC 1.74
            words = error.details() or ""
            outcome = grpc_outcome(error.code(), words, retry_info_s(details), len(body))
            if self._settings.tls and ended_silently(words):
                outcome = await _tls_refusal(self._settings) or outcome
            return shown(outcome, self._secrets)
        return shown(_read_protobuf(answer, spans), self._secrets)

    async def aclose(self) -> None:
        """Close the connection at once."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def _open(self) -> grpc.aio.Channel:
        refuse_if_closed(self._closed, self.name)
        if self._channel is None:
            settings = self._settings
            compression = grpc.Compression.Gzip if settings.gzip else grpc.Compression.NoCompression
            if settings.tls:
                credentials = grpc.ssl_channel_credentials(settings.ca, settings.key, settings.certificate)
                self._channel = grpc.aio.secure_channel(settings.endpoint, credentials, _CHANNEL, compression)
            else:
                self._channel = grpc.aio.insecure_channel(settings.endpoint, _CHANNEL, compression)
        return self._channel


class OtlpHttpDestination:
    """Sends to an OTLP receiver over HTTP as binary protobuf. No connection is made before the first `send`.

    Raises `ConfigurationError` when a certificate cannot be used.
    """

    def __init__(self, name: str, settings: OtlpSettings, clock: Clock) -> None:
        self.name = name
        self._settings = settings
        self._clock = clock
        self._ssl = settings.ssl_context()
        self._url = URL(settings.endpoint)
        self._headers = _request_headers(settings)
        self._secrets = header_secrets(settings.headers)
        self._closed = False
        self._session: aiohttp.ClientSession | None = None

    async def send(self, batch: SpanBatch) -> Outcome:
        """Make one POST, within the configured timeout."""
        return await self._export(encode_request(batch.spans, batch.encoded), len(batch.spans))

    async def send_empty(self, size_bytes: int) -> Outcome:
        """Make one POST of about ``size_bytes`` without spans."""
        return await self._export(encode_empty_request(size_bytes), 0)

    async def _export(self, body: bytes, spans: int) -> Outcome:
        """Send an ``ExportTraceServiceRequest`` that is encoded already and has this number of ``spans``."""
        if self._settings.gzip:
            body = await in_thread(gzip.compress, body, 6)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                outcome = await self._post(body, spans)
        except TimeoutError:
            return no_answer("no response", self._settings.timeout_s)
        except aiohttp.ClientResponseError as error:
            outcome = not_otlp_outcome(f"no HTTP: {error.message}".encode())
        except (aiohttp.ClientError, OSError) as error:
            outcome = connection_outcome(_words(error), connected=not isinstance(error, aiohttp.ClientConnectorError))
        return shown(outcome, self._secrets)

    async def aclose(self) -> None:
        """Close the connections at once."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, body: bytes, spans: int) -> Outcome:
        async with self._open().post(
            self._url, data=io.BytesIO(body), headers=self._headers, allow_redirects=False, ssl=self._ssl or True
        ) as response:
            answer = await _read_some(response)
            content_type = response.headers.get("Content-Type", "")
            if not 200 <= response.status < 300:
                after_s = parse_retry_after(response.headers.get("Retry-After"), self._clock.now_ns())
                return http_outcome(response.status, answer, content_type, after_s)
            if "html" in content_type:
                return web_page_outcome(response.status, content_type)
            if "json" in content_type:
                return _read_json(answer, spans)
            if "protobuf" in content_type or not content_type:
                return _read_protobuf(answer, spans)
            return Delivered()

    def _open(self) -> aiohttp.ClientSession:
        refuse_if_closed(self._closed, self.name)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        return self._session


def _metadatum(key: str, value: str) -> tuple[str, str | bytes]:
    """Return a header as gRPC expects it: if the name ends in ``-bin``, the value is bytes, in base64 on the wire."""
    return key, value.encode() if key.endswith("-bin") else value


def _words(error: aiohttp.ClientError | OSError) -> str:
    """Return what failed, in the words of the operating system if there was no connection."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"no TLS with {error.host}:{error.port}: {error.certificate_error}"
    if not isinstance(error, aiohttp.ClientConnectorError):
        return f"{type(error).__name__}: {error}"
    if isinstance(error.os_error, ssl.SSLError):
        return f"no TLS with {error.host}:{error.port}: {error.os_error}"
    number = error.os_error.errno
    words = os.strerror(number) if number and number > 0 else error.os_error.strerror
    return f"no connection to {error.host}:{error.port}: {words or type(error.os_error).__name__}"


async def _tls_refusal(settings: OtlpSettings) -> Outcome | None:
    """Return the outcome if a gRPC server closes new connections because it does not accept the client's certificate.

    Some servers send an alert. Others close the connection: with TLS 1.2 during the handshake, with TLS 1.3 after it,
    which a server that is about to stop may do too.
    """
    where = settings.endpoint
    try:
        if await _ends(settings, ssl.TLSVersion.MAXIMUM_SUPPORTED) and await _ends(settings, ssl.TLSVersion.TLSv1_2):
            return client_certificate_outcome(where)
    except ssl.SSLError as error:
        return connection_outcome(f"no TLS with {where}: {error}", connected=False)
    except (OSError, ValueError, ConfigurationError):
        return None
    return None


async def _ends(settings: OtlpSettings, version: ssl.TLSVersion) -> bool:
    """Return whether the server closes an idle connection at once; with TLS 1.2, during the handshake."""
    context = settings.ssl_context()
    if context is None:
        return False
    context.set_alpn_protocols(["h2"])
    context.maximum_version = version
    where = URL(f"//{settings.endpoint}")
    early = version is ssl.TLSVersion.TLSv1_2
    try:
        async with asyncio.timeout(_LOOK_S):
            reader, writer = await asyncio.open_connection(where.host, where.port, ssl=context)
            try:
                return not early and await reader.read(1) == b""
            finally:
                writer.transport.abort()
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    except ssl.SSLError as error:
        if early and is_tls_version(error):
            return False
        raise


async def _read_some(response: aiohttp.ClientResponse) -> bytes:
    """Read the first `_ANSWER_BYTES` of a response, decoded. Nothing after them is needed."""
    packed = response.headers.get("Content-Encoding", "").strip().lower() in _ZLIB
    inflate = zlib.decompressobj(_GZIP_OR_ZLIB) if packed else None
    answer = bytearray()
    async for part in response.content.iter_any():
        try:
            answer += part if inflate is None else inflate.decompress(part, _ANSWER_BYTES - len(answer))
        except zlib.error:
            answer += part
            break
        if len(answer) >= _ANSWER_BYTES:
            response.close()
            break
    return bytes(answer[:_ANSWER_BYTES])


def _request_headers(settings: OtlpSettings) -> Mapping[str, str]:
    headers = {
        "Content-Type": "application/x-protobuf",
        "User-Agent": "netra-otel-bridge",
        "Accept-Encoding": "gzip",
        **settings.headers,
    }
    return {**headers, "Content-Encoding": "gzip"} if settings.gzip else headers


def _read_protobuf(answer: bytes, spans: int) -> Outcome:
    """Return the outcome of a success in protobuf, which may reject some spans (``ExportTracePartialSuccess``)."""
    try:
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return not_otlp_outcome(answer)
    return partial_outcome(min(partial.rejected_spans, spans), partial.error_message)


def _read_json(answer: bytes, spans: int) -> Outcome:
    """Return the outcome of a success in JSON.

    Some servers answer protobuf with it, though the specification forbids it.
    """
    try:
        response = json_format.Parse(answer or b"{}", ExportTraceServiceResponse(), ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError):
        return not_otlp_outcome(answer)
    partial = response.partial_success
    return partial_outcome(min(partial.rejected_spans, spans), partial.error_message)


def refuse_if_closed(closed: bool, name: str) -> None:
    """Raise ``RuntimeError`` for a `send` after `aclose`, which is a bug of the caller."""
    if closed:
        raise RuntimeError(f"the destination {name} is closed")
