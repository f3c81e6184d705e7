"""Every form of ``DEST`` is read, and a wrong one is explained."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import ConsoleSpanExporter

from netra_otel_bridge.core.errors import ConfigurationError, UsageError
from netra_otel_bridge.core.model.outcome import Delivered
from netra_otel_bridge.deliver import batch_of, open_destination, parse_destination
from netra_otel_bridge.deliver.adapters import entry_points
from netra_otel_bridge.deliver.names import ExporterSpec, FileSpec, OtlpSpec
from netra_otel_bridge.deliver.otlp.settings import read_settings
from tests.support.exporters import ScriptedExporter
from tests.support.spans import make_span


@pytest.mark.parametrize(
    ("text", "protocol", "endpoint", "tls"),
    [
        ("otlp+grpc://tempo:4317", "grpc", "tempo:4317", False),
        ("otlp+grpc://tempo", "grpc", "tempo:4317", False),
        ("otlp+grpc://[::1]:5317", "grpc", "[::1]:5317", False),
        ("otlp+grpcs://api.example.com", "grpc", "api.example.com:443", True),
        ("otlp+http://127.0.0.1:4318", "http/protobuf", "http://127.0.0.1:4318/v1/traces", False),
        ("otlp+http://127.0.0.1:4318/", "http/protobuf", "http://127.0.0.1:4318/v1/traces", False),
        ("otlp+http://h:1/otlp/v1/traces", "http/protobuf", "http://h:1/otlp/v1/traces", False),
        ("otlp+http://h:1/api/public/otel", "http/protobuf", "http://h:1/api/public/otel", False),
        ("otlp+http://[fe80::1]:4318", "http/protobuf", "http://[fe80::1]:4318/v1/traces", False),
        ("otlp+https://api.example.com/x", "http/protobuf", "https://api.example.com:443/x", True),
    ],
)
def test_an_otlp_url_says_protocol_address_and_tls(text: str, protocol: str, endpoint: str, tls: bool) -> None:
    """A path is used as given, the default is ``/v1/traces``; the default port is that of OTLP, or 443 with TLS."""
    assert parse_destination(text) == OtlpSpec(text, protocol, endpoint, tls)  # type: ignore[arg-type]


def test_the_other_forms() -> None:
    """Console, file and exporters are recognized, and the text is the name."""
    assert parse_destination(" console ") == ExporterSpec("console", "console")
    assert parse_destination("exporter:otlp_proto_grpc") == ExporterSpec("exporter:otlp_proto_grpc", "otlp_proto_grpc")
    assert parse_destination("otlp-file:a b.jsonl") == FileSpec("otlp-file:a b.jsonl", Path("a b.jsonl"))


@pytest.mark.parametrize(
    ("variables", "protocol"),
    [
        ({}, "grpc"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, "grpc"),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
    ],
)
def test_otlp_takes_its_protocol_from_the_environment(variables: dict[str, str], protocol: str) -> None:
    """The variable for traces overrides the general one; an empty one counts as unset."""
    assert read_settings(variables).protocol == protocol


@pytest.mark.parametrize(
    "text",
    [
        "", "otlps", "otlp:", "otlp+udp://h:1", "http://h:4318", "otlp-file:", "exporter:", "jaeger", "otlp+grpc",
        "otlp+grpc:h:1", "otlp+grpc://", "otlp+grpc://:4317", "otlp+grpc://h:port", "otlp+grpc://h:99999",
        "otlp+grpc://h:0", "otlp+grpc://h:", "otlp+grpc://h h:1", "otlp+http://[::1:4318", "otlp+grpc://h:1/path",
    ],
)  # fmt: skip
def test_anything_else_is_a_usage_error_that_says_what_to_write(text: str) -> None:
    """The message names the text, the hint the forms."""
    with pytest.raises(UsageError) as raised:
        parse_destination(text)
    assert raised.value.hint
    assert repr(text)[1:-1] in raised.value.message


@pytest.mark.parametrize(
    "text",
    ["otlp+http://me:canary@h:4318", "otlp+grpc://canary@h:4317", "otlp+http://h:1/v1/traces?key=canary",
     "otlp+udp://me:canary@h:1", "https://me:canary@h/x"],
)  # fmt: skip
def test_a_url_with_credentials_is_refused_without_repeating_them(text: str) -> None:
    """The text of a destination appears in logs and in the state."""
    with pytest.raises(UsageError) as raised:
        parse_destination(text)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://me:canary@h:4318"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://canary@h/v1/traces"},
    ],
)
def test_a_variable_that_cannot_be_used_is_named(variables: dict[str, str]) -> None:
    """The error is about the configuration, names the variable and shows no credential."""
    with pytest.raises(ConfigurationError, match=next(iter(variables))) as raised:
        read_settings(variables)
    assert "canary" not in str(raised.value)


def test_an_exporter_that_is_not_installed_is_answered_with_those_that_are() -> None:
    """The names to choose from are in the hint."""
    with pytest.raises(ConfigurationError, match="'zipkin_json'") as raised:
        open_destination("exporter:zipkin_json")
    assert "console" in raised.value.hint
    assert "otlp_proto_grpc" in raised.value.hint


class Unwilling(ScriptedExporter):
    def __init__(self) -> None:
        raise ValueError("WIDGET_URL is not set")


def _only(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    entry = EntryPoint("own", value, entry_points.GROUP)
    monkeypatch.setattr(entry_points, "entry_points", lambda group: EntryPoints([entry]))


async def test_any_exporter_of_the_group_is_made_without_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with an entry point is a destination without any code of ours."""
    _only(monkeypatch, "tests.support.exporters:ScriptedExporter")
    destination = open_destination("exporter:own", name="mine")
    assert destination.name == "mine"
    assert await destination.send(batch_of((make_span(1),))) == Delivered()
    await destination.aclose()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no.such.module:Exporter", "failed to load"),
        (f"{__name__}:Unwilling", "WIDGET_URL is not set"),
        ("builtins:dict", "does not create a span exporter"),
    ],
)
def test_an_exporter_that_cannot_be_made_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    """The exporter's own reason is in the message."""
    _only(monkeypatch, value)
    with pytest.raises(ConfigurationError, match=words):
        open_destination("exporter:own")


def test_a_header_that_cannot_be_read_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A malformed header has the key in it; the variable is named, and nothing of it shown."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Bearer canary 4711")
    for text in ("otlp+http://127.0.0.1:9", "otlp+grpc://127.0.0.1:9", "exporter:otlp_proto_grpc"):
        with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_HEADERS") as raised:
            open_destination(text)
        assert "canary" not in str(raised.value)
    assert "canary" not in caplog.text


def test_the_console_is_the_sdks_own_exporter() -> None:
    """Found by its entry point."""
    assert entry_points.exporter_class("console") is ConsoleSpanExporter


ENVIRONMENTS: list[tuple[dict[str, str], str, str, bool]] = [
    ({}, "grpc", "localhost:4317", False),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://tempo.example"}, "grpc", "tempo.example:443", True),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "tempo:9"}, "grpc", "tempo:9", True),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "tempo:9", "OTEL_EXPORTER_OTLP_INSECURE": "true"}, "grpc", "tempo:9", False),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1]:5"}, "grpc", "[::1]:5", False),
    ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http/protobuf", "http://localhost:4318/v1/traces", False),
    (
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://h/otlp/"},
        "http/protobuf",
        "https://h/otlp/v1/traces",
        True,
    ),
    (
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h/own"},
        "http/protobuf",
        "http://h/own",
        False,
    ),
]


@pytest.mark.parametrize(("variables", "protocol", "endpoint", "tls"), ENVIRONMENTS)
def test_the_environment_says_where_as_for_the_sdk(
    variables: dict[str, str], protocol: str, endpoint: str, tls: bool
) -> None:
    """For HTTP the general endpoint is a base URL, the one for traces is used as given; the scheme decides about TLS."""
    settings = read_settings(variables)
    assert (settings.protocol, settings.endpoint, settings.tls) == (protocol, endpoint, tls)


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "0"},
        {"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "brotli"},
        {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/file.pem"},
        {"OTEL_EXPORTER_OTLP_CLIENT_KEY": __file__},
        {"OTEL_EXPORTER_OTLP_HEADERS": "a=b\u00e9"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "a=b%0D%0Ax: y"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": "tempo:4318"},
    ],
)
def test_a_setting_that_cannot_be_used_is_a_configuration_error(variables: dict[str, str]) -> None:
    """The error names the variable."""
    with pytest.raises(ConfigurationError, match=next(iter(variables)) if len(variables) == 1 else "ENDPOINT"):
        read_settings(variables)


def test_the_rest_of_the_settings_is_read() -> None:
    """Headers are decoded with names in lower case; timeout, compression and certificates are read as the SDK does."""
    settings = read_settings(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "X-Scope=team%20a, Authorization=Bearer%20canary",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": __file__,
        }
    )
    assert settings.headers == {"x-scope": "team a", "authorization": "Bearer canary"}
    assert (settings.timeout_s, settings.gzip, settings.ca) == (2.5, True, Path(__file__).read_bytes())
    assert "canary" not in repr(settings)
