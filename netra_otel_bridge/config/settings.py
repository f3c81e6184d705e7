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
        "api_key", "NETRA_API_KEY", None, parse_secret, "The key that Netra gave you. Needed for all that reads Netra."
    ),
    Setting(
        "api_key_file",
        "NETRA_API_KEY_FILE",
        None,
        parse_path,
        "A file that holds the key and nothing else. It is read where `api_key` is not set, and by `run` again every "
        "5 s while Netra refuses the key.",
    ),
    Setting(
        "endpoint",
        "NETRA_OTLP_ENDPOINT",
        None,
        parse_text,
        "Netra's address, the one that applications send to. A trailing `/telemetry` is removed. Needed likewise.",
    ),
    Setting(
        "headers",
        "NETRA_HEADERS",
        {},
        parse_headers,
        "Headers to add to every call to Netra, values percent-encoded; in a file also a mapping. They cannot replace "
        "the bridge's own.",
    ),
    Setting(
        "timeout_s",
        "NETRA_USAGE_TIMEOUT",
        10.0,
        number_between(0.1, 3600, float),
        "Seconds that one attempt of a call to Netra may take, from connecting to the last byte.",
    ),
    Setting(
        "allow_insecure",
        "NETRA_BRIDGE_ALLOW_INSECURE",
        False,
        parse_flag,
        "Let the key travel over plain `http` to other hosts than this one.",
    ),
    Setting(
        "concurrency",
        "NETRA_BRIDGE_CONCURRENCY",
        64,
        number_between(1, 1024, int),
        "Calls to Netra at the same time, all destinations together. A 429 halves it for a while.",
    ),
    Setting(
        "rate_limit",
        "NETRA_BRIDGE_RATE_LIMIT",
        None,
        number_between(0.01, 1e6, float),
        "Calls to Netra a second, at most; no limit by default.",
    ),
    Setting(
        "attempts",
        "NETRA_BRIDGE_ATTEMPTS",
        6,
        number_between(1, 100, int),
        "Tries of one call to Netra, and of one batch to a destination, before giving up. `run` does not give up: it "
        "starts again.",
    ),
    Setting(
        "to",
        "OTEL_TRACES_EXPORTER",
        ("otlp",),
        parse_list,
        "[Destinations](destinations.md).",
    ),
    Setting(
        "destinations",
        "NETRA_BRIDGE_DESTINATIONS",
        {},
        parse_destinations,
        "Destinations by name. In a file only: the variable is not read.",
    ),
    Setting(
        "profile",
        "NETRA_BRIDGE_PROFILE",
        "genai",
        one_of(*PROFILES),
        "Which attributes are added ([mapping](mapping.md)).",
    ),
    Setting(
        "content",
        "NETRA_BRIDGE_CONTENT",
        "keep",
        one_of("keep", "drop", "redact"),
        "What becomes of prompts, completions, inputs, outputs and tool arguments.",
    ),
    Setting(
        "redact",
        "NETRA_BRIDGE_REDACT",
        (),
        parse_patterns,
        "With `content: redact`, what they match becomes `[redacted]`. In the variable a single one, "
        "commas are part of it.",
    ),
    Setting(
        "pii",
        "NETRA_BRIDGE_PII",
        "keep",
        one_of("keep", "drop-content"),
        "With `drop-content`, the content of spans in which Netra found PII is dropped.",
    ),
    Setting(
        "user",
        "NETRA_BRIDGE_USER",
        "keep",
        one_of("keep", "hash", "drop"),
        "What becomes of user ids. `hash` is SHA-256, the first 32 hex digits.",
    ),
    Setting(
        "usage_cost",
        "NETRA_BRIDGE_USAGE_COST",
        False,
        parse_flag,
        "Also write `gen_ai.usage.cost`, which the conventions do not have, in profiles `genai` and `both`.",
    ),
    Setting(
        "window_ns",
        "NETRA_BRIDGE_WINDOW",
        3600 * NS_PER_S,
        duration_between(NS_PER_MS),
        "Size of the windows in which a range is listed, four at a time; many empty ones in a row take one call.",
    ),
    Setting(
        "batch_spans",
        "NETRA_BRIDGE_BATCH_SPANS",
        512,
        number_between(1, 100_000, int),
        "Spans in one request to a destination, at most.",
    ),
    Setting(
        "batch_bytes",
        "NETRA_BRIDGE_BATCH_BYTES",
        3_500_000,
        number_between(1000, 10**9, int),
        "Bytes in one request to a destination, at most; a larger span travels alone. gRPC servers take 4 MiB by "
        "default.",
    ),
    Setting(
        "held_bytes",
        "NETRA_BRIDGE_HELD_BYTES",
        64 * 2**20,
        number_between(10**6, 10**11, int),
        "Bytes held in memory between Netra and a destination, for each destination, and for all who read spans over "
        "gRPC together. One trace that is larger may exceed it.",
    ),
    Setting(
        "state",
        "NETRA_BRIDGE_STATE",
        None,
        parse_path,
        "The directory that remembers what was delivered. What holds where it is not set: [state](state.md#where).",
    ),
    Setting(
        "poll_ns",
        "NETRA_BRIDGE_POLL",
        30 * NS_PER_S,
        duration_between(100 * NS_PER_MS),
        "`run`: time between two polls.",
    ),
    Setting(
        "settle_ns",
        "NETRA_BRIDGE_SETTLE",
        30 * NS_PER_S,
        duration_between(0),
        "`run`: traces that started less than this ago are left for a later poll.",
    ),
    Setting(
        "lookback_ns",
        "NETRA_BRIDGE_LOOKBACK",
        86400 * NS_PER_S,
        duration_between(NS_PER_S),
        "`run`: how far a poll goes back at the most. A span that comes later than this after the start of its trace "
        "is not found.",
    ),
    Setting(
        "remember_ns",
        "NETRA_BRIDGE_REMEMBER",
        7 * 86400 * NS_PER_S,
        duration_between(NS_PER_S),
        "[How long](state.md#how-long) single traces are remembered, and finished windows are listed again.",
    ),
    Setting(
        "usage_poll_ns",
        "NETRA_BRIDGE_USAGE_POLL",
        60 * NS_PER_S,
        duration_between(NS_PER_S // 10),
        "`run`: time between two polls of [usage](usage.md).",
    ),
    Setting(
        "usage_tenants",
        "NETRA_BRIDGE_USAGE_TENANTS",
        (),
        parse_list,
        "Tenants to poll. Where it is not set: those in the traces.",
    ),
    Setting(
        "usage_tenant_limit",
        "NETRA_BRIDGE_USAGE_TENANT_LIMIT",
        500,
        number_between(1, 100_000, int),
        "Tenants with [counters of their own](usage.md#tenants); all others are summed up.",
    ),
    Setting(
        "usage_sessions",
        "NETRA_BRIDGE_USAGE_SESSIONS",
        0,
        number_between(0, 1000, int),
        "[Sessions](usage.md#sessions) to show, those that cost most.",
    ),
    Setting(
        "usage_period",
        "NETRA_BRIDGE_USAGE_PERIOD",
        "month",
        one_of("month", "day"),
        "What a [period](usage.md#periods-and-budgets) is, in UTC.",
    ),
    Setting(
        "usage_grace_ns",
        "NETRA_BRIDGE_USAGE_GRACE",
        3 * 86400 * NS_PER_S,
        duration_between(0),
        "How long after the end of a period usage may still come and is counted.",
    ),
    Setting(
        "usage_announce_ns",
        "NETRA_BRIDGE_USAGE_ANNOUNCE",
        75 * NS_PER_S,
        duration_between(0),
        "How long a new [counter](usage.md#counters) shows 0 first. Longer than the time between two scrapes.",
    ),
    Setting(
        "usage_budgets",
        "NETRA_BRIDGE_USAGE_BUDGETS",
        {},
        parse_budgets,
        "[Budgets](usage.md#periods-and-budgets), US dollars a period by tenant; `*` is any other. As a text "
        "`AceTech=500,*=50`.",
    ),
    Setting(
        "http_host",
        "OTEL_EXPORTER_PROMETHEUS_HOST",
        "127.0.0.1",
        parse_text,
        "`run`: where health and metrics are served ([operations](operations.md#is-it-well)).",
    ),
    Setting(
        "http_port",
        "OTEL_EXPORTER_PROMETHEUS_PORT",
        9464,
        number_between(0, 65535, int),
        "`run`: its port; 0 takes a free one, and the log names it.",
    ),
    Setting(
        "grpc_host",
        "NETRA_BRIDGE_GRPC_HOST",
        "127.0.0.1",
        parse_text,
        "`run`: where the [gRPC service](grpc.md) listens. It is on as soon as `grpc_token` or `grpc_client_ca` is "
        "set; another address than loopback needs TLS.",
    ),
    Setting(
        "grpc_port",
        "NETRA_BRIDGE_GRPC_PORT",
        9465,
        number_between(0, 65535, int),
        "Its port; 0 takes a free one, and the log names it.",
    ),
    Setting(
        "grpc_token",
        "NETRA_BRIDGE_GRPC_TOKEN",
        None,
        parse_secret,
        "What its callers must show, as `authorization: Bearer TOKEN`: 8 characters or more, all ASCII, no spaces "
        "(`openssl rand -hex 32` makes one).",
    ),
    Setting(
        "grpc_token_file",
        "NETRA_BRIDGE_GRPC_TOKEN_FILE",
        None,
        parse_path,
        "A file that holds the token and nothing else. It is read at the start, where `grpc_token` is not set.",
    ),
    Setting(
        "grpc_certificate",
        "NETRA_BRIDGE_GRPC_CERTIFICATE",
        None,
        parse_path,
        "Its certificate and those up to its authority, a PEM file. It goes with `grpc_key`. Both are read again when "
        "the files change.",
    ),
    Setting("grpc_key", "NETRA_BRIDGE_GRPC_KEY", None, parse_path, "The key of its certificate, a PEM file."),
    Setting(
        "grpc_client_ca",
        "NETRA_BRIDGE_GRPC_CLIENT_CA",
        None,
        parse_path,
        "Who signs its callers' certificates, a PEM file. Callers without one are then turned away (mutual TLS).",
    ),
    Setting(
        "grpc_reflection",
        "NETRA_BRIDGE_GRPC_REFLECTION",
        False,
        parse_flag,
        "Let callers ask what the service is, as `grpcurl` does.",
    ),
    Setting(
        "grpc_calls",
        "NETRA_BRIDGE_GRPC_CALLS",
        256,
        number_between(1, 10_000, int),
        "Calls that it answers at the same time, streams included; more are refused for the moment.",
    ),
    Setting(
        "grpc_stall_ns",
        "NETRA_BRIDGE_GRPC_STALL",
        60 * NS_PER_S,
        duration_between(NS_PER_S // 10),
        "How long a caller may leave a message of a stream unread, or a batch unacknowledged, before the stream ends.",
    ),
    Setting(
        "log_format",
        "NETRA_BRIDGE_LOG_FORMAT",
        "text",
        one_of("text", "json"),
        "How log lines on stderr are written.",
    ),
)
