"""Settings: the precedence of sources, the content of errors, and values that never print."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge import Bridge
from netra_otel_bridge.config.load import load
from netra_otel_bridge.config.parsers import Secret, parse_headers
from netra_otel_bridge.config.settings import SETTINGS
from netra_otel_bridge.core.errors import ConfigurationError, UsageError
from netra_otel_bridge.core.expressions import Expression
from tests.support.examples import size

CANARY = "nk-canary-5d1f"


def file(folder: Path, text: str) -> Path:
    path = folder / "bridge.yaml"
    path.write_text(text)
    return path


def revealed(headers: dict[str, Secret]) -> dict[str, str]:
    return {name: value.reveal() for name, value in headers.items()}


VALUES: dict[str, tuple[Any, str, Any]] = {
    # name: (default, as text, parsed)
    "api_key": (None, "k", Secret("k")),
    "api_key_file": (None, None, None),
    "endpoint": (None, "https://n.example/telemetry", "https://n.example/telemetry"),
    "headers": ({}, "a=b", {"a": Secret("b")}),
    "timeout_s": (10.0, "2.5", 2.5),
    "allow_insecure": (False, "true", True),
    "verify_at": ((), "jaeger+grpc://h:16685,a=b", ("jaeger+grpc://h:16685", "a=b")),
    "read_back_headers": ({}, "a=b", {"a": Secret("b")}),
    "read_back_certificate": (None, "/etc/bridge/ca.crt", "/etc/bridge/ca.crt"),
    "concurrency": (64, "8", 8),
    "rate_limit": (None, "50", 50.0),
    "attempts": (6, "2", 2),
    "to": (("otlp",), "console,otlp", ("console", "otlp")),
    "destinations": ({}, None, None),
    "profile": ("genai", "both", "both"),
    "content": ("keep", "drop", "drop"),
    "content_allow": ((), "netra.custom.plan,netra.metadata.*", ("netra.custom.plan", "netra.metadata.*")),
    "exceptions": (None, "keep", "keep"),
    "redact": ((), "[0-9]+", (Expression("[0-9]+"),)),
    "pii": ("keep", "drop-content", "drop-content"),
    "user": ("keep", "hash", "hash"),
    "user_hash_key": (None, "k", Secret("k")),
    "user_hash_key_file": (None, None, None),
    "usage_cost": (False, "yes", True),
    "window_ns": (3600 * 10**9, "90m", 5400 * 10**9),
    "batch_spans": (512, "100", 100),
    "batch_bytes": (3_500_000, "1000000", 1_000_000),
    "held_bytes": (64 * 2**20, "2000000", 2_000_000),
    "state": (None, "/var/lib/bridge", "/var/lib/bridge"),
    "poll_ns": (30 * 10**9, "1s", 10**9),
    "settle_ns": (30 * 10**9, "0s", 0),
    "lookback_ns": (86400 * 10**9, "2d", 2 * 86400 * 10**9),
    "remember_ns": (7 * 86400 * 10**9, "1w", 7 * 86400 * 10**9),
    "usage_poll_ns": (60 * 10**9, "5s", 5 * 10**9),
    "usage_tenants": ((), "ace,bee", ("ace", "bee")),
    "usage_tenant_limit": (500, "10", 10),
    "usage_sessions": (0, "20", 20),
    "usage_period": ("month", "day", "day"),
    "usage_grace_ns": (3 * 86400 * 10**9, "1d", 86400 * 10**9),
    "usage_announce_ns": (75 * 10**9, "0s", 0),
    "usage_budgets": ({}, "a%3Db=5,*=0.5", {"a=b": 5.0, "*": 0.5}),
    "http_host": ("127.0.0.1", "::1", "::1"),
    "http_port": (9464, "9999", 9999),
    "grpc_host": ("127.0.0.1", "::1", "::1"),
    "grpc_port": (9465, "0", 0),
    "grpc_token": (None, "t", Secret("t")),
    "grpc_token_file": (None, None, None),
    "grpc_certificate": (None, "/etc/bridge/tls.crt", "/etc/bridge/tls.crt"),
    "grpc_key": (None, "/etc/bridge/tls.key", "/etc/bridge/tls.key"),
    "grpc_client_ca": (None, "/etc/bridge/ca.crt", "/etc/bridge/ca.crt"),
    "grpc_reflection": (False, "on", True),
    "grpc_calls": (256, "2", 2),
    "grpc_stall_ns": (60 * 10**9, "500ms", 500 * 10**6),
    "log_format": ("text", "json", "json"),
}  # fmt: skip


def test_the_table_covers_every_setting() -> None:
    """The table above lists every setting."""
    assert VALUES.keys() == {setting.name for setting in SETTINGS}


@pytest.mark.parametrize("name", [name for name, (_, text, _) in VALUES.items() if text is not None])
def test_flag_over_environment_over_file_over_default(name: str, tmp_path: Path) -> None:
    """Each source alone sets the value, the stronger one wins, and the origin names it."""
    setting = next(one for one in SETTINGS if one.name == name)
    default, text, parsed = VALUES[name]
    path = file(tmp_path, f"# settings\n{setting.key}: {text!r}\n")
    environ = {setting.variable: text}
    for flags, environment, config, value, origin in (
        ({}, {}, None, default, "default"),
        ({}, {}, path, parsed, f"{path} line 2"),
        ({}, environ, None, parsed, setting.variable),
        ({}, environ, path, parsed, setting.variable),
        ({setting.key: text}, environ, path, parsed, "flag"),
        ({setting.key: None}, {setting.variable: "  "}, path, parsed, f"{path} line 2"),
    ):
        settings = load(flags, environment, config)
        assert getattr(settings, name) == value
        assert settings.origins[name] == origin


@pytest.mark.parametrize("name", ["api_key", "grpc_token"])
def test_a_secret_may_stand_in_a_file(name: str, tmp_path: Path) -> None:
    """The file is read if the secret is not set, without its line end; the origin is the file, and no content is shown."""
    variable = next(one.variable for one in SETTINGS if one.name == name)
    key = file(tmp_path, "nk-secret\n")
    for flags, environ in (({f"{name}_file": str(key)}, {}), ({}, {f"{variable}_FILE": str(key)})):
        settings = load(flags, environ)
        assert getattr(settings, name) == Secret("nk-secret")
        assert settings.origins[name] == str(key)
    assert getattr(load({}, {variable: "other", f"{variable}_FILE": str(key)}), name) == Secret("other")
    key.write_text("two\nlines\n")
    for bad in (key, tmp_path / "none", tmp_path):
        with pytest.raises(ConfigurationError, match=f"{variable}_FILE: {bad}") as raised:
            load({}, {f"{variable}_FILE": str(bad)})
        assert "lines" not in str(raised.value)


def test_the_stronger_source_really_wins(tmp_path: Path) -> None:
    """The strongest of three sources with different values wins."""
    path = file(tmp_path, "concurrency: 1\nattempts: 1\nprofile: raw\n")
    settings = load({"concurrency": 3}, {"NETRA_BRIDGE_CONCURRENCY": "2", "NETRA_BRIDGE_ATTEMPTS": "2"}, path)
    assert (settings.concurrency, settings.attempts, settings.profile) == (3, 2, "raw")


def test_a_file_may_hold_yaml_values(tmp_path: Path) -> None:
    """The file may contain YAML numbers, lists and maps, and its variable may name it."""
    path = file(
        tmp_path,
        "concurrency: 8\ntimeout: 2.5\nallow_insecure: true\nwindow: 90m\nto: [console, screen]\n"
        "destinations:\n  screen: console\nheaders:\n  X-Team: a b\nredact: ['\\d{16}', foo]\ncontent: redact\n",
    )
    settings = load({}, {"NETRA_BRIDGE_CONFIG": str(path)})
    assert (settings.concurrency, settings.timeout_s, settings.allow_insecure) == (8, 2.5, True)
    assert settings.window_ns == 5400 * 10**9
    assert settings.to == ("console", "screen")
    assert settings.destinations == {"screen": "console"}
    assert revealed(dict(settings.headers)) == {"x-team": "a b"}
    assert [pattern.pattern for pattern in settings.redact] == [r"\d{16}", "foo"]
    assert load({}, {}, file(tmp_path, "")).concurrency == 64


WRONG = [
    ("api_key", "a\nb", "line breaks"),
    ("headers", "nonsense", "name=value"),
    ("headers", "bad name=x", "name=value"),
    ("timeout", "soon", "a number from 0.1 to 3600"),
    ("timeout", "nan", "a number from 0.1 to 3600"),
    ("allow_insecure", "perhaps", "true or false"),
    ("concurrency", "0", "a whole number from 1 to 1024"),
    ("concurrency", "1.5", "a whole number"),
    ("concurrency", "many", "a whole number"),
    ("attempts", "101", "a whole number from 1 to 100"),
    ("profile", "other", "raw, genai, openinference, both"),
    ("content", "hide", "keep, drop, redact"),
    ("redact", "(", "regular expressions"),
    ("pii", "drop", "keep, drop-content"),
    ("user", "mask", "keep, hash, drop"),
    ("window", "0s", "1ms"),
    ("window", "0.1ms", "not a duration|1ms"),
    ("window", "1", "not a duration"),
    ("window", "9" * 400 + "d", "100 years"),
    ("window", "40000d", "100 years"),
    ("batch_bytes", "1", "a whole number from 1000 to 1000000000"),
    ("usage_budgets", "ace=much", "tenants, each with US dollars"),
    ("grpc_token", "a\nb", "line breaks"),
    ("grpc_stall", "50ms", "a duration from 100ms"),
]


@pytest.mark.parametrize(("key", "value", "rule"), WRONG)
def test_an_error_names_the_variable_or_the_file_line_and_key(key: str, value: str, rule: str, tmp_path: Path) -> None:
    """The error names the source of the value and what was expected; for a flag it is a `UsageError`."""
    setting = next(one for one in SETTINGS if one.key == key)
    with pytest.raises(ConfigurationError, match=rule) as error:
        load({}, {setting.variable: value})
    assert str(error.value).startswith(f"{setting.variable}: {key}: ")
    path = file(tmp_path, f"\n\n{key}: {_quoted(value)}\n")
    with pytest.raises(ConfigurationError, match=rule) as error:
        load({}, {}, path)
    assert str(error.value).startswith(f"{path} line 3: {key}: ")
    with pytest.raises(UsageError, match=rule) as usage:
        load({setting.key: value}, {})
    assert str(usage.value).startswith(f"--{key.replace('_', '-')}: ")


def test_an_error_of_the_library_names_the_argument(tmp_path: Path) -> None:
    """A program passes arguments, so errors do not name flags."""
    for key, value, _ in WRONG:
        with pytest.raises(UsageError) as usage:
            Bridge(environ={}, **{key: value})
        assert str(usage.value).startswith(f"{key}: ")
    for name in ("api_key", "grpc_token"):
        with pytest.raises(ConfigurationError, match=f"^{name}_file: {tmp_path} cannot be read"):
            Bridge(environ={}, **{f"{name}_file": tmp_path})
    assert Bridge(environ={}, poll="1s").settings.origins["poll_ns"] == "argument"


def _quoted(value: str) -> str:
    return '"' + value.replace("\n", "\\n") + '"'


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("concurrency: 3.7\n", 1, "concurrency"),
        ("attempts: 2\nconcurrency: .inf\n", 2, "concurrency"),
        ("concurrency: .nan\n", 1, "concurrency"),
        ("concurrency: true\n", 1, "concurrency"),
        ("concurrency: [1]\n", 1, "concurrency"),
        ("timeout: 2025-99-99\n", 1, "timeout"),
        ("window: .inf\n", 1, "window"),
        ("api_key: [a]\n", 1, "api_key"),
        ("api_key:\n", 1, "api_key"),
        ("endpoint: {a: b}\n", 1, "endpoint"),
        ("headers: {'bad name': x}\n", 1, "headers"),
        ("headers: {a: [x]}\n", 1, "headers"),
        ("headers: {a: \"x\\ny\"}\n", 1, "headers"),
        ("to: {a: b}\n", 1, "to"),
        ("to: [1]\n", 1, "to"),
        ("destinations: [a]\n", 1, "destinations"),
        ("destinations: {a: [b]}\n", 1, "destinations"),
        ("redact: 7\n", 1, "redact"),
        ("redact: [7]\n", 1, "redact"),
        ("profile: [raw]\n", 1, "profile"),
        ("concurrency: !!python/object:os.system x\n", 1, "concurrency"),
        ("concurrency: {[a]: 1}\n", 1, "concurrency"),
    ],
)  # fmt: skip
def test_a_yaml_value_of_a_wrong_type_is_a_configuration_error(text: str, line: int, key: str, tmp_path: Path) -> None:
    """For any YAML value the error names the file, the line and the key, and there is no other exception."""
    path = file(tmp_path, text)
    with pytest.raises(ConfigurationError) as error:
        load({}, {}, path)
    assert str(error.value).startswith(f"{path} line {line}: {key}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attempts: 2\nconcurency: 3\n", "line 2: unknown setting 'concurency' (known: "),
        ("[a]: 1\n", "line 1: unknown setting"),
        ("? {a: b}\n: 1\n", "line 1: unknown setting"),
        ("attempts: 2\nattempts: 3\n", "line 2: attempts is set twice"),
        ("- attempts\n", ": expected settings"),
        ("attempts\n", ": expected settings"),
        ("a: 1\n---\nb: 2\n", "is not YAML"),
        ("attempts: *nobody\n", "is not YAML"),
        ("attempts: [1\n", "is not YAML"),
        ("\tattempts: 1\n", "line 1: is not YAML"),
        ("attempts: 1\nprofile: raw: x\n", "line 2: is not YAML"),
        ("a: " * 5 + "\x01\n", "is not YAML"),
        ("attempts: " + "[" * size(1_000, 20_000) + "\n", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_used_says_where(text: str, message: str, tmp_path: Path) -> None:
    """Unknown and repeated settings, other documents and invalid YAML give a one-line error that names the file."""
    path = file(tmp_path, text)
    with pytest.raises(ConfigurationError) as error:
        load({}, {}, path)
    assert str(path) in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_not_text_says_so(tmp_path: Path) -> None:
    """The error contains the system's reason."""
    with pytest.raises(ConfigurationError, match="No such file"):
        load({}, {}, tmp_path / "none.yaml")
    with pytest.raises(ConfigurationError, match="directory"):
        load({}, {}, tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="is not YAML"):
        load({}, {}, tmp_path / "binary")


@pytest.mark.parametrize(
    "text",
    [
        f"api_key: {CANARY}: x\n",
        f'api_key: "{CANARY}\n',
        f"api_key: [{CANARY}\n",
        f"api_key: [{CANARY}]\n",
        f"api_key: @{CANARY}\n",
        f'api_key: "{CANARY}\\nx"\n',
        f"headers: {{a: [{CANARY}]}}\n",
        f"headers: {CANARY}\n",
        f"api_key: !!int {CANARY}\n",
        f"api_key: !{CANARY} x\n",
    ],
)
def test_an_error_about_a_file_never_shows_the_key(text: str, tmp_path: Path) -> None:
    """Neither the message contains the key, nor a cause that a traceback would print."""
    with pytest.raises(ConfigurationError) as error:
        load({}, {}, file(tmp_path, text))
    assert CANARY not in str(error.value)
    assert error.value.__cause__ is None or CANARY not in str(error.value.__cause__)


def test_secrets_never_print() -> None:
    """``repr``, ``str`` and formatting show three stars, also for the settings that contain a secret."""
    settings = load(
        {}, {"NETRA_API_KEY": CANARY, "NETRA_HEADERS": f"x-token={CANARY}", "NETRA_BRIDGE_GRPC_TOKEN": CANARY}
    )
    secret = settings.api_key
    assert secret is not None
    assert secret.reveal() == CANARY
    shown = (repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", repr([secret]))
    assert not any(CANARY in text for text in (*shown, repr(settings), str(dataclasses.asdict(settings))))
    assert repr(secret) == "***"
    assert secret == Secret(CANARY)
    assert secret != Secret("other")
    assert len({secret, Secret(CANARY)}) == 1


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("a=b", {"a": "b"}),
        ("X-Team=core,x-env=prod", {"x-team": "core", "x-env": "prod"}),
        (" a = b , c=d ", {"a": "b", "c": "d"}),
        ("a=x%20y%2C%3D", {"a": "x y,="}),
        ("a=b=c", {"a": "b=c"}),
        ("a=b;c", {"a": "b;c"}),
        ("a=b,,c=d,", {"a": "b", "c": "d"}),
        ("a=", {"a": ""}),
        ("a=1,A=2", {"a": "2"}),
    ],
)
def test_headers_are_read_as_correlation_context(text: str, headers: dict[str, str]) -> None:
    """``k=v,k2=v2`` with percent-encoded values, surrounding white space removed, and names in lower case."""
    assert revealed(parse_headers(text)) == headers


@pytest.mark.parametrize("text", ["a", "=b", "a b=c", "a:b", "a=x%0d%0aEvil: 1", "ü=b", "a=%00"])
def test_headers_that_cannot_be_sent_are_refused(text: str) -> None:
    """A header needs a name that is a token, and a value that cannot start another header."""
    with pytest.raises(ValueError, match="expected"):
        parse_headers(text)


def test_redacting_needs_something_to_redact() -> None:
    """``content: redact`` without an expression is an error: it would let everything through."""
    with pytest.raises(ConfigurationError, match="redact"):
        load({"content": "redact"}, {})


def test_a_setting_that_does_not_exist_is_refused() -> None:
    """A misspelled argument is an error."""
    with pytest.raises(UsageError, match="there is no setting concurency"):
        load({"concurency": 3}, {})


def test_destinations_come_from_the_file_alone() -> None:
    """The variable is not read, because it has no form for a map."""
    assert load({}, {"NETRA_BRIDGE_DESTINATIONS": "a=b"}).destinations == {}


@pytest.mark.parametrize(("key", "what"), [("api_key", "key"), ("grpc_token", "token")])
def test_an_empty_file_holds_nothing_and_the_message_says_what(tmp_path: Path, key: str, what: str) -> None:
    """The error says whether a key or a token is missing, and what the file must contain."""
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigurationError, match=f"holds no {what} .*the {what} and nothing else"):
        load({f"{key}_file": str(tmp_path / "empty")}, {})
