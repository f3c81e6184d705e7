"""Parse the ``AT`` of a store, and open its reader. Nothing is connected.

    jaeger+grpc://HOST:PORT             Jaeger's query service over gRPC; jaeger+grpcs:// with TLS
    jaeger+http://HOST:PORT[/BASE]      the same over HTTP; jaeger+https:// with TLS
    tempo+http://HOST:PORT[/BASE]       Tempo's query API; tempo+https:// with TLS
    phoenix+http://HOST:PORT[/PROJECT]  Phoenix, all projects or one; phoenix+https:// with TLS
    otlp-file:PATH                      OTLP JSON, one TracesData a line, and the files PATH was rotated to
    reader:NAME[:REST]                  any netra_otel_bridge_readers entry point

The default port is the server's own (16685, 16686, 3200, 6006), or 443 with TLS. A URL must not contain credentials,
because it appears in messages and reports: headers carry them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from netra_otel_bridge.core.errors import BridgeError, ConfigurationError, UsageError
from netra_otel_bridge.core.outside_text import error_words, header_secrets, safe_line
from netra_otel_bridge.deliver.adapters.entry_points import installed, load
from netra_otel_bridge.deliver.names import without_secrets
from netra_otel_bridge.readback.address import Address, check_headers, read_ca
from netra_otel_bridge.readback.reader import TraceReader

GROUP = "netra_otel_bridge_readers"
FORMS = (
    "a store is jaeger+grpc://HOST:PORT, jaeger+grpcs://HOST:PORT, jaeger+http://HOST:PORT[/BASE], "
    "jaeger+https://HOST:PORT[/BASE], tempo+http://HOST:PORT[/BASE], tempo+https://HOST:PORT[/BASE], "
    "phoenix+http://HOST:PORT[/PROJECT], phoenix+https://HOST:PORT[/PROJECT], otlp-file:PATH, or reader:NAME[:REST]"
)
_PORTS = {
    "jaeger+grpc": 16685,
    "jaeger+grpcs": 443,
    "jaeger+http": 16686,
    "jaeger+https": 443,
    "tempo+http": 3200,
    "tempo+https": 443,
    "phoenix+http": 6006,
    "phoenix+https": 443,
}
_BEHIND = "a Collector cannot be read back: name the store behind it; "
_HEADERS_HINT = "put credentials into NETRA_BRIDGE_READ_BACK_HEADERS"


def open_reader(at: str, *, headers: Mapping[str, str], ca_file: str | None) -> TraceReader:
    """Return the reader of the store at ``at``, which sends ``headers`` along. Nothing is connected.

    ``ca_file`` names the CA certificates to trust, in PEM; by default the system's are. Raises `UsageError` for a text
    that has none of the forms, and `ConfigurationError` for settings that cannot be used.
    """
    name = at.strip()
    kind, separator, rest = name.partition(":")
    if kind == "otlp-file" and rest:
        from netra_otel_bridge.readback.otlp_file import OtlpFileReader

        return OtlpFileReader(name, Path(rest).expanduser())
    if kind == "reader" and rest:
        return _own_reader(name, rest, headers)
    if kind not in _PORTS or not separator:
        behind = _BEHIND if kind.partition("+")[0] == "otlp" else ""
        raise UsageError(f"{_shown(name)} is not a store that can be read back", hint=behind + FORMS)
    url = _split(name, kind)
    check_headers(headers)
    address = Address(
        at=name,
        host=url.hostname or "",
        port=url.port or _PORTS[kind],
        tls=kind.endswith("s"),
        base=url.path.rstrip("/"),
        headers=dict(headers),
        ca=read_ca(ca_file),
    )
    return _opened(kind, address)


def default_at(dest: str) -> str | None:
    """Return where the spans of a destination can be read back without being told: a file is its own store."""
    name = dest.strip()
    return name if name.startswith("otlp-file:") and name != "otlp-file:" else None


def _opened(kind: str, address: Address) -> TraceReader:
    """Return the reader of a server. Its libraries are imported with the first one."""
    if kind in ("jaeger+grpc", "jaeger+grpcs"):
        from netra_otel_bridge.readback.jaeger_grpc import JaegerGrpcReader

        return JaegerGrpcReader(address)
    if kind in ("jaeger+http", "jaeger+https"):
        from netra_otel_bridge.readback.jaeger_http import JaegerHttpReader

        return JaegerHttpReader(address)
    if kind in ("tempo+http", "tempo+https"):
        from netra_otel_bridge.readback.tempo import TempoReader

        return TempoReader(address)
    from netra_otel_bridge.readback.phoenix import PhoenixReader

    return PhoenixReader(address)


def _split(text: str, scheme: str) -> SplitResult:
    """Split ``SCHEME://HOST[:PORT][/PATH]``. Raises `UsageError`."""
    shown, example = _shown(text), f"write {scheme}://HOST:{_PORTS[scheme]}"
    if not text.startswith(f"{scheme}://"):
        raise UsageError(f"{shown} has no address", hint=example)
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise UsageError(f"{shown} has a bad address: {error}", hint=example) from None
    if "@" in url.netloc:
        raise UsageError(f"{shown} contains a user name or password", hint=_HEADERS_HINT)
    if url.query or url.fragment:
        raise UsageError(f"{shown} has a query", hint=_HEADERS_HINT)
    if not host or any(c.isspace() for c in text) or port == 0 or url.netloc.endswith(":"):
        raise UsageError(f"{shown} has no usable host and port", hint=example)
    if "+grpc" in scheme and url.path not in ("", "/"):
        raise UsageError(f"{shown} has a path, but gRPC uses none", hint=example)
    return url


def _own_reader(at: str, rest: str, headers: Mapping[str, str]) -> TraceReader:
    """Call the entry point ``NAME`` with the text after ``NAME:`` and the headers."""
    name, _, argument = rest.partition(":")
    found = installed(GROUP)
    what = f"the reader {name!r}"
    if name not in found:
        raise ConfigurationError(
            f"there is no reader named {name!r}",
            hint=f"installed here: {', '.join(sorted(found)) or 'none'}; install the package that provides {name!r}",
        )
    make = load(found[name], what)
    try:
        made = make(argument, dict(headers))
    except BridgeError:
        raise
    except Exception as error:  # noqa: BLE001  the wall around foreign code
        words = safe_line(error_words(error), header_secrets(headers))
        raise ConfigurationError(f"{what} failed to start: {words}", hint=f"check {_shown(at)}") from None
    lacking = [
        one for one in ("read", "aclose", "form", "store", "at", "concurrency", "calls") if not hasattr(made, one)
    ]
    if lacking:
        raise ConfigurationError(
            f"the entry point {name!r} of {GROUP} does not create a reader: it has no {', '.join(lacking)}",
            hint="see netra_otel_bridge.readback.reader.TraceReader",
        )
    reader: TraceReader = made
    return reader


def _shown(text: str) -> str:
    """Return a text in quotes, as a message may show it."""
    return repr(without_secrets(text))
