"""What can be configured: `SETTINGS` is the one list, and `Settings` holds the values.

The environment variables, the keys of the file, the defaults, ``config show`` and the reference in the documentation
are all read from that list. Secrets print as ``***``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from netra_otel_bridge.clock import NS_PER_MS, NS_PER_S, duration_text, parse_duration_ns
from netra_otel_bridge.errors import UsageError

PROFILES = ("raw", "genai", "openinference", "both")
_MAX_DURATION_NS = 36_525 * 86_400 * 10**9
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Secret:
    """A text that never prints itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be configured, as docs/configuration.md lists it.

    ``parse`` takes text or a YAML value and raises ``ValueError`` with the rule. ``help`` is Markdown, with links as
    that page has them.
    """

    name: str
    variable: str
    default: Any
    parse: Callable[[Any], Any]
    help: str

    @property
    def key(self) -> str:
        """Its name in the configuration file, where a duration carries its unit in the value."""
        return self.name.removesuffix("_s").removesuffix("_ns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective configuration. ``origins`` says of each field where its value came from."""

    api_key: Secret | None
    api_key_file: str | None
    endpoint: str | None
    headers: Mapping[str, Secret]
    timeout_s: float
    allow_insecure: bool
    concurrency: int
    rate_limit: float | None
    attempts: int
    to: tuple[str, ...]
    destinations: Mapping[str, str]
    profile: str
    content: str
    redact: tuple[re.Pattern[str], ...]
    pii: str
    user: str
    usage_cost: bool
    window_ns: int
    batch_spans: int
    batch_bytes: int
    held_bytes: int
    state: str | None
    poll_ns: int
    settle_ns: int
    lookback_ns: int
    remember_ns: int
    usage_poll_ns: int
    usage_tenants: tuple[str, ...]
    usage_tenant_limit: int
    usage_sessions: int
    usage_period: str
    usage_grace_ns: int
    usage_announce_ns: int
    usage_budgets: Mapping[str, float]
    http_host: str
    http_port: int
    grpc_host: str
    grpc_port: int
    grpc_token: Secret | None
    grpc_token_file: str | None
    grpc_certificate: str | None
    grpc_key: str | None
    grpc_client_ca: str | None
    grpc_reflection: bool
    grpc_calls: int
    grpc_stall_ns: int
    log_format: str
    origins: Mapping[str, str] = field(default_factory=dict)


def _text(value: Any) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool) or not str(value).strip():
        raise ValueError("expected a text")
    return str(value).strip()


def _path(value: Any) -> str:
    return _text(os.fspath(value) if isinstance(value, os.PathLike) else value)


def parse_secret(value: Any) -> Secret:
    text = _text(value)
    if any(ord(character) < 32 for character in text):
        raise ValueError("expected a key without line breaks or control characters")
    return Secret(text)


def _flag(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in ("true", "1", "yes", "on", "false", "0", "no", "off"):
        raise ValueError("expected true or false")
    return text in ("true", "1", "yes", "on")


def _choice(*words: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return str(value)

    return parse


def _number(low: float, high: float, kind: type[int] | type[float]) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        try:
            number = kind(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError, OverflowError):
            number = None
        cut = isinstance(value, float) and number != value
        if number is None or cut or not low <= number <= high:
            raise ValueError(f"expected {'a whole' if kind is int else 'a'} number from {low:.12g} to {high:.12g}")
        return number

    return parse


def _list(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError("expected a list of texts")
    return tuple(item.strip() for item in items if item.strip())


def _patterns(value: Any) -> tuple[re.Pattern[str], ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise ValueError("expected a list of regular expressions")  # noqa: TRY004  one error type for all parsers
    try:
        return tuple(re.compile(item) for item in items)
    except (re.error, TypeError) as error:
        raise ValueError(f"expected regular expressions: {error}") from None


def _duration(shortest_ns: int) -> Callable[[Any], int]:
    """To the millisecond: windows are listed in that unit, and one that began between two would miss what starts there."""
    rule = f"expected a duration from {duration_text(shortest_ns)} to 100 years"

    def parse(value: Any) -> int:
        try:
            ns = round(parse_duration_ns(str(value)) / NS_PER_MS) * NS_PER_MS
        except UsageError as error:
            raise ValueError(str(error)) from None
        except OverflowError:
            raise ValueError(rule) from None
        if not shortest_ns <= ns <= _MAX_DURATION_NS:
            raise ValueError(rule)
        return ns

    return parse


def parse_headers(value: Any) -> dict[str, Secret]:
    """``k=v,k2=v2`` with percent-encoded values (W3C correlation context), as netra-sdk reads ``NETRA_HEADERS``."""
    if isinstance(value, Mapping):
        pairs = [(str(key), "=", "" if item == "" else _text(item)) for key, item in value.items()]
    else:
        pairs = [pair.partition("=") for pair in _text(value).split(",") if pair.strip()]
        pairs = [(key, equals, unquote(item.strip())) for key, equals, item in pairs]
    headers: dict[str, Secret] = {}
    for key, equals, item in pairs:
        if not equals or not _HEADER_NAME.fullmatch(key.strip()):
            raise ValueError("expected name=value pairs with commas between them")
        headers[key.strip().lower()] = parse_secret(item) if item else Secret("")
    return headers


def _destinations(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("expected names, each with a destination")
    return {str(key): item for key, item in value.items()}


def _budgets(value: Any) -> dict[str, float]:
    """A mapping, or ``tenant=dollars,tenant2=dollars`` with percent-encoded tenants."""
    if isinstance(value, str):
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        value = {unquote(tenant.strip()): amount for tenant, _, amount in pairs}
    if not isinstance(value, Mapping):
        raise ValueError("expected tenants, each with US dollars")  # noqa: TRY004  one error type for all parsers
    if not all(str(tenant).strip() for tenant in value):
        raise ValueError("expected a tenant before each =")
    amount = _number(0, 1e12, float)
    try:
        return {str(tenant): amount(dollars) for tenant, dollars in value.items()}
    except ValueError:
        raise ValueError("expected tenants, each with US dollars") from None


SETTINGS = (
    Setting(
        "api_key",
        "NETRA_API_KEY",
        None,
        parse_secret,
        "API key for Netra. Required to read from Netra, unless `api_key_file` is set.",
    ),
    Setting(
        "api_key_file",
        "NETRA_API_KEY_FILE",
        None,
        _path,
        "File that contains only the API key. Used when `api_key` is not set. While Netra rejects the key, `run` "
        "reads the file again every 5 s.",
    ),
    Setting(
        "endpoint",
        "NETRA_OTLP_ENDPOINT",
        None,
        _text,
        "Netra's address, as your applications use it. A trailing `/telemetry` is removed. Required to read from "
        "Netra.",
    ),
    Setting(
        "headers",
        "NETRA_HEADERS",
        {},
        parse_headers,
        "Extra headers for every call to Netra, with percent-encoded values; in the file, a mapping works too. They"
        " cannot replace the bridge's own headers.",
    ),
    Setting(
        "timeout_s",
        "NETRA_USAGE_TIMEOUT",
        10.0,
        _number(0.1, 3600, float),
        "Time limit in seconds for one attempt of a call to Netra, from connecting to the last byte.",
    ),
    Setting(
        "allow_insecure",
        "NETRA_BRIDGE_ALLOW_INSECURE",
        False,
        _flag,
        "Allow sending the key over plain `http` to hosts other than this one.",
    ),
    Setting(
        "concurrency",
        "NETRA_BRIDGE_CONCURRENCY",
        64,
        _number(1, 1024, int),
        "Maximum concurrent calls to Netra, across all destinations. A 429 halves it for a while.",
    ),
    Setting(
        "rate_limit",
        "NETRA_BRIDGE_RATE_LIMIT",
        None,
        _number(0.01, 1e6, float),
        "Maximum calls to Netra per second. No limit by default.",
    ),
    Setting(
        "attempts",
        "NETRA_BRIDGE_ATTEMPTS",
        6,
        _number(1, 100, int),
        "Maximum attempts for one call to Netra, and for one batch to a destination. `run` does not give up: it "
        "starts again.",
    ),
    Setting(
        "to",
        "OTEL_TRACES_EXPORTER",
        ("otlp",),
        _list,
        "[Destinations](destinations.md) to deliver to.",
    ),
    Setting(
        "destinations",
        "NETRA_BRIDGE_DESTINATIONS",
        {},
        _destinations,
        "Named destinations. Set them in the file only: the variable is not read.",
    ),
    Setting(
        "profile",
        "NETRA_BRIDGE_PROFILE",
        "genai",
        _choice(*PROFILES),
        "Which attributes to add ([mapping](mapping.md)).",
    ),
    Setting(
        "content",
        "NETRA_BRIDGE_CONTENT",
        "keep",
        _choice("keep", "drop", "redact"),
        "How to handle prompts, completions, inputs, outputs and tool arguments.",
    ),
    Setting(
        "redact",
        "NETRA_BRIDGE_REDACT",
        (),
        _patterns,
        "With `content: redact`, text that matches becomes `[redacted]`. The variable holds a single expression, "
        "because commas may be part of it.",
    ),
    Setting(
        "pii",
        "NETRA_BRIDGE_PII",
        "keep",
        _choice("keep", "drop-content"),
        "With `drop-content`, drop the content of spans in which Netra found PII.",
    ),
    Setting(
        "user",
        "NETRA_BRIDGE_USER",
        "keep",
        _choice("keep", "hash", "drop"),
        "How to handle user ids. `hash` replaces them with the first 32 hex digits of their SHA-256.",
    ),
    Setting(
        "usage_cost",
        "NETRA_BRIDGE_USAGE_COST",
        False,
        _flag,
        "Also write `gen_ai.usage.cost`, which is not part of the conventions, in profiles `genai` and `both`.",
    ),
    Setting(
        "window_ns",
        "NETRA_BRIDGE_WINDOW",
        3600 * NS_PER_S,
        _duration(NS_PER_MS),
        "Size of the windows in which a range is listed, four at a time. Many empty windows in a row take one call.",
    ),
    Setting(
        "batch_spans",
        "NETRA_BRIDGE_BATCH_SPANS",
        512,
        _number(1, 100_000, int),
        "Maximum spans in one request to a destination.",
    ),
    Setting(
        "batch_bytes",
        "NETRA_BRIDGE_BATCH_BYTES",
        3_500_000,
        _number(1000, 10**9, int),
        "Maximum bytes in one request to a destination. A larger span is sent alone. gRPC servers accept 4 MiB by "
        "default.",
    ),
    Setting(
        "held_bytes",
        "NETRA_BRIDGE_HELD_BYTES",
        64 * 2**20,
        _number(10**6, 10**11, int),
        "Maximum bytes held in memory between Netra and a destination, for each destination; the same again for all"
        " clients that read spans over gRPC, together. A single larger trace may exceed it.",
    ),
    Setting(
        "state",
        "NETRA_BRIDGE_STATE",
        None,
        _path,
        "State directory, which remembers what was delivered. For the default, see [state](state.md#where).",
    ),
    Setting(
        "poll_ns",
        "NETRA_BRIDGE_POLL",
        30 * NS_PER_S,
        _duration(100 * NS_PER_MS),
        "`run`: interval between polls.",
    ),
    Setting(
        "settle_ns",
        "NETRA_BRIDGE_SETTLE",
        30 * NS_PER_S,
        _duration(0),
        "`run`: leave traces that started less than this ago for a later poll.",
    ),
    Setting(
        "lookback_ns",
        "NETRA_BRIDGE_LOOKBACK",
        86400 * NS_PER_S,
        _duration(NS_PER_S),
        "`run`: how far back a poll looks at most. A span that arrives later than this after the start of its trace"
        " is not found.",
    ),
    Setting(
        "remember_ns",
        "NETRA_BRIDGE_REMEMBER",
        7 * 86400 * NS_PER_S,
        _duration(NS_PER_S),
        "[How long](state.md#how-long) to remember single traces and to list finished windows again.",
    ),
    Setting(
        "usage_poll_ns",
        "NETRA_BRIDGE_USAGE_POLL",
        60 * NS_PER_S,
        _duration(NS_PER_S // 10),
        "`run`: interval between polls of [usage](usage.md).",
    ),
    Setting(
        "usage_tenants",
        "NETRA_BRIDGE_USAGE_TENANTS",
        (),
        _list,
        "Tenants to poll. Default: the tenants found in traces.",
    ),
    Setting(
        "usage_tenant_limit",
        "NETRA_BRIDGE_USAGE_TENANT_LIMIT",
        500,
        _number(1, 100_000, int),
        "Maximum tenants with [counters of their own](usage.md#tenants). All others are summed as one.",
    ),
    Setting(
        "usage_sessions",
        "NETRA_BRIDGE_USAGE_SESSIONS",
        0,
        _number(0, 1000, int),
        "How many [sessions](usage.md#sessions) to export: those that cost most.",
    ),
    Setting(
        "usage_period",
        "NETRA_BRIDGE_USAGE_PERIOD",
        "month",
        _choice("month", "day"),
        "Length of a usage [period](usage.md#periods-and-budgets), in UTC.",
    ),
    Setting(
        "usage_grace_ns",
        "NETRA_BRIDGE_USAGE_GRACE",
        3 * 86400 * NS_PER_S,
        _duration(0),
        "Grace period after the end of a period during which late usage is still counted.",
    ),
    Setting(
        "usage_announce_ns",
        "NETRA_BRIDGE_USAGE_ANNOUNCE",
        75 * NS_PER_S,
        _duration(0),
        "How long a new [counter](usage.md#counters) is exported as 0 first. Make it longer than the scrape interval.",
    ),
    Setting(
        "usage_budgets",
        "NETRA_BRIDGE_USAGE_BUDGETS",
        {},
        _budgets,
        "[Budgets](usage.md#periods-and-budgets) in US dollars per period, by tenant; `*` applies to every other "
        "tenant. As text: `AceTech=500,*=50`.",
    ),
    Setting(
        "http_host",
        "OTEL_EXPORTER_PROMETHEUS_HOST",
        "127.0.0.1",
        _text,
        "`run`: address for the health and metrics pages ([operations](operations.md#is-it-well)).",
    ),
    Setting(
        "http_port",
        "OTEL_EXPORTER_PROMETHEUS_PORT",
        9464,
        _number(0, 65535, int),
        "`run`: port for the health and metrics pages. 0 picks a free port, which the log names.",
    ),
    Setting(
        "grpc_host",
        "NETRA_BRIDGE_GRPC_HOST",
        "127.0.0.1",
        _text,
        "`run`: address for the [gRPC service](grpc.md). The service starts when `grpc_token` or `grpc_client_ca` "
        "is set. An address other than loopback requires TLS.",
    ),
    Setting(
        "grpc_port",
        "NETRA_BRIDGE_GRPC_PORT",
        9465,
        _number(0, 65535, int),
        "Port for the gRPC service. 0 picks a free port, which the log names.",
    ),
    Setting(
        "grpc_token",
        "NETRA_BRIDGE_GRPC_TOKEN",
        None,
        parse_secret,
        "Token that gRPC clients must send as `authorization: Bearer TOKEN`. At least 8 ASCII characters, no spaces"
        " (`openssl rand -hex 32` generates one).",
    ),
    Setting(
        "grpc_token_file",
        "NETRA_BRIDGE_GRPC_TOKEN_FILE",
        None,
        _path,
        "File that contains only the token. Used when `grpc_token` is not set, and read once at startup.",
    ),
    Setting(
        "grpc_certificate",
        "NETRA_BRIDGE_GRPC_CERTIFICATE",
        None,
        _path,
        "PEM file with the server certificate and its chain. Requires `grpc_key`. Both files are read again when "
        "they change.",
    ),
    Setting(
        "grpc_key", "NETRA_BRIDGE_GRPC_KEY", None, _path, "PEM file with the private key of the server certificate."
    ),
    Setting(
        "grpc_client_ca",
        "NETRA_BRIDGE_GRPC_CLIENT_CA",
        None,
        _path,
        "PEM file with the certificate authority for client certificates. Clients without such a certificate are "
        "rejected (mutual TLS).",
    ),
    Setting(
        "grpc_reflection",
        "NETRA_BRIDGE_GRPC_REFLECTION",
        False,
        _flag,
        "Enable server reflection, which tools such as `grpcurl` use.",
    ),
    Setting(
        "grpc_calls",
        "NETRA_BRIDGE_GRPC_CALLS",
        256,
        _number(1, 10_000, int),
        "Maximum concurrent gRPC calls, streams included. Calls over the limit are rejected and can be retried.",
    ),
    Setting(
        "grpc_stall_ns",
        "NETRA_BRIDGE_GRPC_STALL",
        60 * NS_PER_S,
        _duration(NS_PER_S // 10),
        "How long a gRPC client may leave a stream message unread, or a batch unacknowledged, before the stream ends.",
    ),
    Setting(
        "log_format",
        "NETRA_BRIDGE_LOG_FORMAT",
        "text",
        _choice("text", "json"),
        "Format of log lines on stderr.",
    ),
)
