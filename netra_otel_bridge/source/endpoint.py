"""Addresses and headers of requests to Netra.

The API key reaches only the configured host. Addresses are built here from that host and quoted segments, redirects are
not followed, and the environment's proxies are not used. Plain ``http`` is allowed for the loopback interface only,
unless the configuration allows more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from yarl import URL

from netra_otel_bridge.core.errors import ConfigurationError, UsageError
from netra_otel_bridge.core.hosts import is_loopback

_TELEMETRY = "/telemetry"
_DOT_SEGMENT = re.compile(r"(?:^|[/\\])\.{1,2}(?:$|[/\\])")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\x80-\xff\t]*")
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "upgrade", "host", "te", "trailer"})


def base_url(endpoint: str, *, allow_insecure: bool) -> str:
    """Return ``NETRA_OTLP_ENDPOINT`` without ``/telemetry``: ``https://netra.example``. Raises `ConfigurationError`."""
    text = endpoint.strip() if isinstance(endpoint, str) else ""
    if not text:
        raise ConfigurationError(
            "NETRA_OTLP_ENDPOINT is not set", hint="set it to the address of Netra, as for netra-sdk"
        )
    try:
        url = URL(text)
        host = url.host
    except ValueError:
        url, host = URL(), None
    if url.scheme not in {"http", "https"} or not host:
        raise ConfigurationError(
            "NETRA_OTLP_ENDPOINT is not an http or https address", hint="example: https://netra.example/telemetry"
        )
    if url.user is not None or url.password is not None:
        raise ConfigurationError("NETRA_OTLP_ENDPOINT has a user name or password", hint="use NETRA_API_KEY")
    if url.query_string or url.fragment:
        raise ConfigurationError("NETRA_OTLP_ENDPOINT has a query or a fragment", hint="give scheme, host and path")
    if url.scheme == "http" and not allow_insecure and not is_loopback(host):
        raise ConfigurationError(
            f"NETRA_OTLP_ENDPOINT is plain http to {host}: the API key would be sent unencrypted",
            hint="use https, or allow_insecure",
        )
    return str(url.origin()) + url.raw_path.rstrip("/").removesuffix(_TELEMETRY).rstrip("/")


def request_headers(api_key: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of every request; the bridge's own override ``extra``.

    Raises `ConfigurationError`, without values.
    """
    key = api_key.strip() if isinstance(api_key, str) else ""
    if not key:
        raise ConfigurationError("NETRA_API_KEY is not set", hint="create a key in Netra's settings")
    if not key.isascii() or not key.isprintable():
        raise ConfigurationError("NETRA_API_KEY contains characters that are not allowed in an HTTP header")
    for name, value in extra.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise ConfigurationError(f"NETRA_HEADERS has a name or value that is not text, at {name!r:.80}")
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _FRAMING:
            raise ConfigurationError(f"NETRA_HEADERS names {name!r}, which cannot be set")
        if not _HEADER_VALUE.fullmatch(value):
            raise ConfigurationError(f"NETRA_HEADERS has a value for {name!r} that is not allowed in an HTTP header")
    ours = {
        "x-api-key": key,
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": "netra-otel-bridge",
    }
    taken = {name.lower() for name in ours} | {"content-type"}
    return {name: value for name, value in extra.items() if name.lower() not in taken} | ours


def reaches_its_path(identifier: str) -> bool:
    """Return whether no part of an id is ``.`` or ``..``, which servers resolve even when quoted."""
    return "." not in identifier or not _DOT_SEGMENT.search(identifier)


def segment(identifier: str, name: str) -> str:
    """Return an id as one quoted path segment. Raises `UsageError` if it is empty or could reach another path."""
    if not isinstance(identifier, str | None):
        raise UsageError(f"{name} is of type {type(identifier).__name__}", hint="pass a string")
    if not identifier:
        raise UsageError(f"{name} is empty")
    if not reaches_its_path(identifier):
        raise UsageError(f"{name} {identifier!r} is not an id: it contains parts of a relative path")
    return _quoted(identifier)


def query(**parameters: str | int | None) -> str:
    """Return ``?a=1&b=2`` for the parameters that are not ``None``, quoted; empty if there are none."""
    pairs = [f"{name}={_quoted(str(value))}" for name, value in parameters.items() if value is not None]
    return "?" + "&".join(pairs) if pairs else ""


def _quoted(value: str) -> str:
    """Percent-encode every character that has a meaning in a URL. Most ids contain none."""
    if value.isalnum() and value.isascii():
        return value
    return quote(value, safe="", errors="backslashreplace")
