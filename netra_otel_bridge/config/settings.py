"""What can be configured: `SETTINGS` is the one list, and `Settings` holds the values.

The environment variables, the keys of the file, the defaults, ``config show`` and the reference in the documentation
are all read from that list. Secrets print as ``***``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from netra_otel_bridge.config.parsers import (
    Secret,
    duration_between,
    number_between,
    one_of,
    parse_budgets,
    parse_destinations,
    parse_flag,
    parse_headers,
    parse_list,
    parse_path,
    parse_patterns,
    parse_secret,
    parse_text,
)
from netra_otel_bridge.core.clock import NS_PER_MS, NS_PER_S

PROFILES = ("raw", "genai", "openinference", "both")


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
        parse_path,
        "File that contains only the API key. Used when `api_key` is not set. While Netra rejects the key, `run` reads the file again every 5 s.",
    ),
    Setting(
        "endpoint",
        "NETRA_OTLP_ENDPOINT",
        None,
        parse_text,
        "Netra's address, as your applications use it. A trailing `/telemetry` is removed. Required to read from Netra.",
    ),
    Setting(
        "headers",
        "NETRA_HEADERS",
        {},
        parse_headers,
        "Extra headers for every call to Netra, with percent-encoded values; in the file, a mapping works too. They cannot replace the bridge's own headers.",
    ),
    Setting(
        "timeout_s",
        "NETRA_USAGE_TIMEOUT",
        10.0,
        number_between(0.1, 3600, float),
        "Time limit in seconds for one attempt of a call to Netra, from connecting to the last byte.",
    ),
    Setting(
        "allow_insecure",
        "NETRA_BRIDGE_ALLOW_INSECURE",
        False,
        parse_flag,
        "Allow sending the key over plain `http` to hosts other than this one.",
    ),
    Setting(
        "concurrency",
        "NETRA_BRIDGE_CONCURRENCY",
        64,
        number_between(1, 1024, int),
        "Maximum concurrent calls to Netra, across all destinations. A 429 halves it for a while.",
    ),
    Setting(
        "rate_limit",
        "NETRA_BRIDGE_RATE_LIMIT",
        None,
        number_between(0.01, 1e6, float),
        "Maximum calls to Netra per second. No limit by default.",
    ),
    Setting(
        "attempts",
        "NETRA_BRIDGE_ATTEMPTS",
        6,
        number_between(1, 100, int),
        "Maximum attempts for one call to Netra, and for one batch to a destination. `run` does not give up: it starts again.",
    ),
    Setting(
        "to",
        "OTEL_TRACES_EXPORTER",
        ("otlp",),
        parse_list,
        "[Destinations](destinations.md) to deliver to.",
    ),
    Setting(
        "destinations",
        "NETRA_BRIDGE_DESTINATIONS",
        {},
        parse_destinations,
        "Named destinations. Set them in the file only: the variable is not read.",
    ),
    Setting(
        "profile",
        "NETRA_BRIDGE_PROFILE",
        "genai",
        one_of(*PROFILES),
        "Which attributes to add ([mapping](mapping.md)).",
    ),
    Setting(
        "content",
        "NETRA_BRIDGE_CONTENT",
        "keep",
        one_of("keep", "drop", "redact"),
        "How to handle prompts, completions, inputs, outputs and tool arguments.",
    ),
    Setting(
        "redact",
        "NETRA_BRIDGE_REDACT",
        (),
        parse_patterns,
        "With `content: redact`, text that matches becomes `[redacted]`. The variable holds a single expression, because commas may be part of it.",
    ),
    Setting(
        "pii",
        "NETRA_BRIDGE_PII",
        "keep",
        one_of("keep", "drop-content"),
        "With `drop-content`, drop the content of spans in which Netra found PII.",
    ),
    Setting(
        "user",
        "NETRA_BRIDGE_USER",
        "keep",
        one_of("keep", "hash", "drop"),
        "How to handle user ids. `hash` replaces them with the first 32 hex digits of their SHA-256.",
    ),
    Setting(
        "usage_cost",
        "NETRA_BRIDGE_USAGE_COST",
        False,
        parse_flag,
        "Also write `gen_ai.usage.cost`, which is not part of the conventions, in profiles `genai` and `both`.",
    ),
    Setting(
        "window_ns",
        "NETRA_BRIDGE_WINDOW",
        3600 * NS_PER_S,
        duration_between(NS_PER_MS),
        "Size of the windows in which a range is listed, four at a time. Many empty windows in a row take one call.",
    ),
    Setting(
        "batch_spans",
        "NETRA_BRIDGE_BATCH_SPANS",
        512,
        number_between(1, 100_000, int),
        "Maximum spans in one request to a destination.",
    ),
    Setting(
        "batch_bytes",
        "NETRA_BRIDGE_BATCH_BYTES",
        3_500_000,
        number_between(1000, 10**9, int),
        "Maximum bytes in one request to a destination. A larger span is sent alone. gRPC servers accept 4 MiB by default.",
    ),
    Setting(
        "held_bytes",
        "NETRA_BRIDGE_HELD_BYTES",
        64 * 2**20,
        number_between(10**6, 10**11, int),
        "Maximum bytes held in memory between Netra and a destination, for each destination; the same again for all clients that read spans over gRPC, together. A single larger trace may exceed it.",
    ),
    Setting(
        "state",
        "NETRA_BRIDGE_STATE",
        None,
        parse_path,
        "State directory, which remembers what was delivered. For the default, see [state](state.md#where).",
    ),
    Setting(
        "poll_ns",
        "NETRA_BRIDGE_POLL",
        30 * NS_PER_S,
        duration_between(100 * NS_PER_MS),
        "`run`: interval between polls.",
    ),
    Setting(
        "settle_ns",
        "NETRA_BRIDGE_SETTLE",
        30 * NS_PER_S,
        duration_between(0),
        "`run`: leave traces that started less than this ago for a later poll.",
    ),
    Setting(
        "lookback_ns",
        "NETRA_BRIDGE_LOOKBACK",
        86400 * NS_PER_S,
        duration_between(NS_PER_S),
        "`run`: how far back a poll looks at most. A span that arrives later than this after the start of its trace is not found.",
    ),
    Setting(
        "remember_ns",
        "NETRA_BRIDGE_REMEMBER",
        7 * 86400 * NS_PER_S,
        duration_between(NS_PER_S),
        "[How long](state.md#how-long) to remember single traces and to list finished windows again.",
    ),
    Setting(
        "usage_poll_ns",
        "NETRA_BRIDGE_USAGE_POLL",
        60 * NS_PER_S,
        duration_between(NS_PER_S // 10),
        "`run`: interval between polls of [usage](usage.md).",
    ),
    Setting(
        "usage_tenants",
        "NETRA_BRIDGE_USAGE_TENANTS",
        (),
        parse_list,
        "Tenants to poll. Default: the tenants found in traces.",
    ),
    Setting(
        "usage_tenant_limit",
        "NETRA_BRIDGE_USAGE_TENANT_LIMIT",
        500,
        number_between(1, 100_000, int),
        "Maximum tenants with [counters of their own](usage.md#tenants). All others are summed as one.",
    ),
    Setting(
        "usage_sessions",
        "NETRA_BRIDGE_USAGE_SESSIONS",
        0,
        number_between(0, 1000, int),
        "How many [sessions](usage.md#sessions) to export: those that cost most.",
    ),
    Setting(
        "usage_period",
        "NETRA_BRIDGE_USAGE_PERIOD",
        "month",
        one_of("month", "day"),
        "Length of a usage [period](usage.md#periods-and-budgets), in UTC.",
    ),
    Setting(
        "usage_grace_ns",
        "NETRA_BRIDGE_USAGE_GRACE",
        3 * 86400 * NS_PER_S,
        duration_between(0),
        "Grace period after the end of a period during which late usage is still counted.",
    ),
    Setting(
        "usage_announce_ns",
        "NETRA_BRIDGE_USAGE_ANNOUNCE",
        75 * NS_PER_S,
        duration_between(0),
        "How long a new [counter](usage.md#counters) is exported as 0 first. Make it longer than the scrape interval.",
    ),
    Setting(
        "usage_budgets",
        "NETRA_BRIDGE_USAGE_BUDGETS",
        {},
        parse_budgets,
        "[Budgets](usage.md#periods-and-budgets) in US dollars per period, by tenant; `*` applies to every other tenant. As text: `AceTech=500,*=50`.",
    ),
    Setting(
        "http_host",
        "OTEL_EXPORTER_PROMETHEUS_HOST",
        "127.0.0.1",
        parse_text,
        "`run`: address for the health and metrics pages ([operations](operations.md#is-it-well)).",
    ),
    Setting(
        "http_port",
        "OTEL_EXPORTER_PROMETHEUS_PORT",
        9464,
        number_between(0, 65535, int),
        "`run`: port for the health and metrics pages. 0 picks a free port, which the log names.",
    ),
    Setting(
        "grpc_host",
        "NETRA_BRIDGE_GRPC_HOST",
        "127.0.0.1",
        parse_text,
        "`run`: address for the [gRPC service](grpc.md). The service starts when `grpc_token` or `grpc_client_ca` is set. An address other than loopback requires TLS.",
    ),
    Setting(
        "grpc_port",
        "NETRA_BRIDGE_GRPC_PORT",
        9465,
        number_between(0, 65535, int),
        "Port for the gRPC service. 0 picks a free port, which the log names.",
    ),
    Setting(
        "grpc_token",
        "NETRA_BRIDGE_GRPC_TOKEN",
        None,
        parse_secret,
        "Token that gRPC clients must send as `authorization: Bearer TOKEN`. At least 8 ASCII characters, no spaces (`openssl rand -hex 32` generates one).",
    ),
    Setting(
        "grpc_token_file",
        "NETRA_BRIDGE_GRPC_TOKEN_FILE",
        None,
        parse_path,
        "File that contains only the token. Used when `grpc_token` is not set, and read once at startup.",
    ),
    Setting(
        "grpc_certificate",
        "NETRA_BRIDGE_GRPC_CERTIFICATE",
        None,
        parse_path,
        "PEM file with the server certificate and its chain. Requires `grpc_key`. Both files are read again when they change.",
    ),
    Setting(
        "grpc_key",
        "NETRA_BRIDGE_GRPC_KEY",
        None,
        parse_path,
        "PEM file with the private key of the server certificate.",
    ),
    Setting(
        "grpc_client_ca",
        "NETRA_BRIDGE_GRPC_CLIENT_CA",
        None,
        parse_path,
        "PEM file with the certificate authority for client certificates. Clients without such a certificate are rejected (mutual TLS).",
    ),
    Setting(
        "grpc_reflection",
        "NETRA_BRIDGE_GRPC_REFLECTION",
        False,
        parse_flag,
        "Enable server reflection, which tools such as `grpcurl` use.",
    ),
    Setting(
        "grpc_calls",
        "NETRA_BRIDGE_GRPC_CALLS",
        256,
        number_between(1, 10_000, int),
        "Maximum concurrent gRPC calls, streams included. Calls over the limit are rejected and can be retried.",
    ),
    Setting(
        "grpc_stall_ns",
        "NETRA_BRIDGE_GRPC_STALL",
        60 * NS_PER_S,
        duration_between(NS_PER_S // 10),
        "How long a gRPC client may leave a stream message unread, or a batch unacknowledged, before the stream ends.",
    ),
    Setting(
        "log_format",
        "NETRA_BRIDGE_LOG_FORMAT",
        "text",
        one_of("text", "json"),
        "Format of log lines on stderr.",
    ),
)
