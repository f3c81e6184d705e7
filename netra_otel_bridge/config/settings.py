"""The settings, each declared once: a field of `Settings` with its variable, default, parser and explanation.

The loader, ``config show``, the flags and the reference in the documentation are derived from these declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from netra_otel_bridge.config.declare import declared, setting
from netra_otel_bridge.config.parsers import (
    Secret,
    decimal_number,
    duration,
    one_of,
    parse_allowed_names,
    parse_bool,
    parse_budgets,
    parse_destinations,
    parse_headers,
    parse_path,
    parse_patterns,
    parse_secret,
    parse_text,
    parse_texts,
    whole_number,
)
from netra_otel_bridge.core.clock import NS_PER_MS, NS_PER_S
from netra_otel_bridge.core.expressions import Expression

PROFILES = ("raw", "genai", "openinference", "both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective configuration. ``origins`` names the source of each field's value."""

    api_key: Secret | None = setting(
        "NETRA_API_KEY",
        None,
        parse_secret,
        "API key for Netra. Required to read from Netra, unless `api_key_file` is set.",
    )
    api_key_file: str | None = setting(
        "NETRA_API_KEY_FILE",
        None,
        parse_path,
        "File that contains only the API key. Used when `api_key` is not set. While Netra rejects the key, `run` reads the file again every 5 s.",
    )
    endpoint: str | None = setting(
        "NETRA_OTLP_ENDPOINT",
        None,
        parse_text,
        "Netra's address, as your applications use it. A trailing `/telemetry` is removed. Required to read from Netra.",
    )
    headers: Mapping[str, Secret] = setting(
        "NETRA_HEADERS",
        {},
        parse_headers,
        "Extra headers for every call to Netra, with percent-encoded values; in the file, a mapping works too. They cannot replace the bridge's own headers.",
    )
    timeout_s: float = setting(
        "NETRA_USAGE_TIMEOUT",
        10.0,
        decimal_number(0.1, 3600),
        "Time limit in seconds for one attempt of a call to Netra, from connecting to the last byte.",
    )
    allow_insecure: bool = setting(
        "NETRA_BRIDGE_ALLOW_INSECURE",
        False,
        parse_bool,
        "Allow sending the key over plain `http` to hosts other than this one.",
    )
    verify_at: tuple[str, ...] = setting(
        "NETRA_BRIDGE_VERIFY_AT",
        (),
        parse_texts,
        "Where `run` [reads a sample of live traffic back](readback.md#all-the-time), such as `jaeger+grpc://HOST:16685`; `DEST=AT` if there are several destinations. `VerifySpans` of the [gRPC service](grpc.md#a-proof-of-arrival) reads back there too. Nothing is read back by default.",
    )
    read_back_headers: Mapping[str, Secret] = setting(
        "NETRA_BRIDGE_READ_BACK_HEADERS",
        {},
        parse_headers,
        "Headers for every request that [reads a store back](readback.md), such as credentials, with percent-encoded values; in the file, a mapping works too. Headers for OTLP are not sent there.",
    )
    read_back_certificate: str | None = setting(
        "NETRA_BRIDGE_READ_BACK_CERTIFICATE",
        None,
        parse_path,
        "PEM file with the certificate authorities to trust when a store is read back. By default the system's are trusted.",
    )
    concurrency: int = setting(
        "NETRA_BRIDGE_CONCURRENCY",
        64,
        whole_number(1, 1024),
        "Maximum concurrent calls to Netra, across all destinations. A 429 halves it for a while.",
    )
    rate_limit: float | None = setting(
        "NETRA_BRIDGE_RATE_LIMIT",
        None,
        decimal_number(0.01, 1e6),
        "Maximum calls to Netra per second. No limit by default.",
    )
    attempts: int = setting(
        "NETRA_BRIDGE_ATTEMPTS",
        6,
        whole_number(1, 100),
        "Maximum attempts for one call to Netra, and for one batch to a destination. `run` does not give up: it starts again.",
    )
    to: tuple[str, ...] = setting(
        "OTEL_TRACES_EXPORTER", ("otlp",), parse_texts, "[Destinations](destinations.md) to deliver to."
    )
    destinations: Mapping[str, str] = setting(
        "NETRA_BRIDGE_DESTINATIONS",
        {},
        parse_destinations,
        "Named destinations. Set them in the file only: the variable is not read.",
    )
    profile: str = setting(
        "NETRA_BRIDGE_PROFILE", "genai", one_of(*PROFILES), "Which attributes to add ([mapping](mapping.md))."
    )
    content: str = setting(
        "NETRA_BRIDGE_CONTENT",
        "keep",
        one_of("keep", "drop", "redact"),
        "How to handle [content](privacy.md). `drop` lets text leave only under names that are known to hold facts, such as models and ids; `redact` replaces what the expressions match, in every text.",
    )
    content_allow: tuple[str, ...] = setting(
        "NETRA_BRIDGE_CONTENT_ALLOW",
        (),
        parse_allowed_names,
        "Attributes that `content: drop` and `pii: drop-content` keep, whatever they hold: exact names, or `prefix.*`, such as `netra.custom.plan` or `netra.metadata.*`.",
    )
    exceptions: str | None = setting(
        "NETRA_BRIDGE_EXCEPTIONS",
        None,
        one_of("keep", "drop"),
        "How to handle messages and stack traces of exceptions, and messages of a status. By default they are dropped where content is dropped, and kept otherwise.",
    )
    redact: tuple[Expression, ...] = setting(
        "NETRA_BRIDGE_REDACT",
        (),
        parse_patterns,
        "With `content: redact`, text that matches becomes `[redacted]`. The syntax is RE2's. The variable holds a single expression, because commas may be part of it.",
    )
    pii: str = setting(
        "NETRA_BRIDGE_PII",
        "keep",
        one_of("keep", "drop-content"),
        "With `drop-content`, drop the content of spans in which Netra found PII.",
    )
    user: str = setting(
        "NETRA_BRIDGE_USER",
        "keep",
        one_of("keep", "hash", "drop"),
        "How to handle user ids. `hash` replaces them with the first 32 hex digits of their HMAC-SHA-256 with `user_hash_key`. Without a key it is their SHA-256, which anyone who has a list of ids can compute too.",
    )
    user_hash_key: Secret | None = setting(
        "NETRA_BRIDGE_USER_HASH_KEY",
        None,
        parse_secret,
        "Key for `user: hash` (`openssl rand -hex 32` generates one). Another key makes other hashes.",
    )
    user_hash_key_file: str | None = setting(
        "NETRA_BRIDGE_USER_HASH_KEY_FILE",
        None,
        parse_path,
        "File that contains only the key for `user: hash`. Used when `user_hash_key` is not set, and read once at startup.",
    )
    usage_cost: bool = setting(
        "NETRA_BRIDGE_USAGE_COST",
        False,
        parse_bool,
        "Also write `gen_ai.usage.cost`, which is not part of the conventions, in profiles `genai` and `both`.",
    )
    window_ns: int = setting(
        "NETRA_BRIDGE_WINDOW",
        3600 * NS_PER_S,
        duration(NS_PER_MS),
        "Size of the windows in which a range is listed, four at a time. Many empty windows in a row take one call.",
    )
    batch_spans: int = setting(
        "NETRA_BRIDGE_BATCH_SPANS", 512, whole_number(1, 100_000), "Maximum spans in one request to a destination."
    )
    batch_bytes: int = setting(
        "NETRA_BRIDGE_BATCH_BYTES",
        3_500_000,
        whole_number(1000, 10**9),
        "Maximum bytes in one request to a destination. A larger span is sent alone. gRPC servers accept 4 MiB by default.",
    )
    held_bytes: int = setting(
        "NETRA_BRIDGE_HELD_BYTES",
        64 * 2**20,
        whole_number(10**6, 10**11),
        "Maximum bytes held in memory between Netra and a destination, for each destination; the same again for all clients that read spans over gRPC, together. A single larger trace may exceed it.",
    )
    state: str | None = setting(
        "NETRA_BRIDGE_STATE",
        None,
        parse_path,
        "State directory, which remembers what was delivered. For the default, see [state](state.md#where).",
    )
    poll_ns: int = setting(
        "NETRA_BRIDGE_POLL", 30 * NS_PER_S, duration(100 * NS_PER_MS), "`run`: interval between polls."
    )
    settle_ns: int = setting(
        "NETRA_BRIDGE_SETTLE",
        30 * NS_PER_S,
        duration(0),
        "`run`: leave traces that started less than this ago for a later poll.",
    )
    lookback_ns: int = setting(
        "NETRA_BRIDGE_LOOKBACK",
        86400 * NS_PER_S,
        duration(NS_PER_S),
        "`run`: how far back a poll looks at most. A span that arrives later than this after the start of its trace is not found.",
    )
    remember_ns: int = setting(
        "NETRA_BRIDGE_REMEMBER",
        7 * 86400 * NS_PER_S,
        duration(NS_PER_S),
        "[How long](state.md#how-long) to remember single traces and to list finished windows again.",
    )
    usage_poll_ns: int = setting(
        "NETRA_BRIDGE_USAGE_POLL",
        60 * NS_PER_S,
        duration(NS_PER_S // 10),
        "`run`: interval between polls of [usage](usage.md).",
    )
    usage_tenants: tuple[str, ...] = setting(
        "NETRA_BRIDGE_USAGE_TENANTS", (), parse_texts, "Tenants to poll. Default: the tenants found in traces."
    )
    usage_tenant_limit: int = setting(
        "NETRA_BRIDGE_USAGE_TENANT_LIMIT",
        500,
        whole_number(1, 100_000),
        "Maximum tenants with [counters of their own](usage.md#tenants). All others are summed as one.",
    )
    usage_sessions: int = setting(
        "NETRA_BRIDGE_USAGE_SESSIONS",
        0,
        whole_number(0, 1000),
        "How many [sessions](usage.md#sessions) to export: those that cost most.",
    )
    usage_period: str = setting(
        "NETRA_BRIDGE_USAGE_PERIOD",
        "month",
        one_of("month", "day"),
        "Length of a usage [period](usage.md#periods-and-budgets), in UTC.",
    )
    usage_grace_ns: int = setting(
        "NETRA_BRIDGE_USAGE_GRACE",
        3 * 86400 * NS_PER_S,
        duration(0),
        "Grace period after the end of a period during which late usage is still counted.",
    )
    usage_announce_ns: int = setting(
        "NETRA_BRIDGE_USAGE_ANNOUNCE",
        75 * NS_PER_S,
        duration(0),
        "How long a new [counter](usage.md#counters) is exported as 0 first. Make it longer than the scrape interval.",
    )
    usage_budgets: Mapping[str, float] = setting(
        "NETRA_BRIDGE_USAGE_BUDGETS",
        {},
        parse_budgets,
        "[Budgets](usage.md#periods-and-budgets) in US dollars per period, by tenant; `*` applies to every other tenant. As text: `AceTech=500,*=50`.",
    )
    http_host: str = setting(
        "OTEL_EXPORTER_PROMETHEUS_HOST",
        "127.0.0.1",
        parse_text,
        "`run`: address for the health and metrics pages ([operations](operations.md#is-it-well)).",
    )
    http_port: int = setting(
        "OTEL_EXPORTER_PROMETHEUS_PORT",
        9464,
        whole_number(0, 65535),
        "`run`: port for the health and metrics pages. 0 picks a free port, which the log names.",
    )
    grpc_host: str = setting(
        "NETRA_BRIDGE_GRPC_HOST",
        "127.0.0.1",
        parse_text,
        "`run`: address for the [gRPC service](grpc.md). The service starts when `grpc_token` or `grpc_client_ca` is set. An address other than loopback requires TLS.",
    )
    grpc_port: int = setting(
        "NETRA_BRIDGE_GRPC_PORT",
        9465,
        whole_number(0, 65535),
        "Port for the gRPC service. 0 picks a free port, which the log names.",
    )
    grpc_token: Secret | None = setting(
        "NETRA_BRIDGE_GRPC_TOKEN",
        None,
        parse_secret,
        "Token that gRPC clients must send as `authorization: Bearer TOKEN`. At least 8 ASCII characters, no spaces (`openssl rand -hex 32` generates one).",
    )
    grpc_token_file: str | None = setting(
        "NETRA_BRIDGE_GRPC_TOKEN_FILE",
        None,
        parse_path,
        "File that contains only the token. Used when `grpc_token` is not set, and read once at startup.",
    )
    grpc_certificate: str | None = setting(
        "NETRA_BRIDGE_GRPC_CERTIFICATE",
        None,
        parse_path,
        "PEM file with the server certificate and its chain. Requires `grpc_key`. Both files are read again when they change.",
    )
    grpc_key: str | None = setting(
        "NETRA_BRIDGE_GRPC_KEY", None, parse_path, "PEM file with the private key of the server certificate."
    )
    grpc_client_ca: str | None = setting(
        "NETRA_BRIDGE_GRPC_CLIENT_CA",
        None,
        parse_path,
        "PEM file with the certificate authority for client certificates. Clients without such a certificate are rejected (mutual TLS).",
    )
    grpc_reflection: bool = setting(
        "NETRA_BRIDGE_GRPC_REFLECTION",
        False,
        parse_bool,
        "Enable server reflection, which tools such as `grpcurl` use.",
    )
    grpc_calls: int = setting(
        "NETRA_BRIDGE_GRPC_CALLS",
        256,
        whole_number(1, 10_000),
        "Maximum concurrent gRPC calls, streams included. Calls over the limit are rejected and can be retried.",
    )
    grpc_stall_ns: int = setting(
        "NETRA_BRIDGE_GRPC_STALL",
        60 * NS_PER_S,
        duration(NS_PER_S // 10),
        "How long a gRPC client may leave a stream message unread, or a batch unacknowledged, before the stream ends.",
    )
    log_format: str = setting(
        "NETRA_BRIDGE_LOG_FORMAT", "text", one_of("text", "json"), "Format of log lines on stderr."
    )
    origins: Mapping[str, str] = field(default_factory=dict)


SETTINGS = declared(Settings)
"""Every setting, in the order of the reference."""
