"""Names of stores: every form, what is rejected, and readers of a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from netra_otel_bridge.core.errors import ConfigurationError, UsageError
from netra_otel_bridge.readback import names
from netra_otel_bridge.readback.names import default_at, open_reader
from netra_otel_bridge.readback.otlp_file import FileForm


@pytest.mark.parametrize(
    ("at", "store", "url"),
    [
        ("jaeger+grpc://host:1", "jaeger", "http://host:1"),
        ("jaeger+grpc://host", "jaeger", "http://host:16685"),
        ("jaeger+grpcs://host", "jaeger", "https://host:443"),
        ("jaeger+http://[::1]", "jaeger", "http://[::1]:16686"),
        ("jaeger+https://host/base/", "jaeger", "https://host:443/base"),
        (" tempo+http://host ", "tempo", "http://host:3200"),
        ("tempo+https://host:8/tempo", "tempo", "https://host:8/tempo"),
        ("phoenix+http://host", "phoenix", "http://host:6006"),
        ("phoenix+https://host/s/team/mine", "phoenix", "https://host:443/s/team"),
    ],
)
async def test_each_form_of_a_server_opens_its_reader(at: str, store: str, url: str) -> None:
    """The address is what the text says, with the default port of the server, and nothing is connected."""
    reader = open_reader(at, headers={}, ca_file=None)
    address = reader._address if at.startswith("jaeger+grpc") else reader._asker.address  # type: ignore[attr-defined]
    assert (reader.store, reader.at, address.url, reader.calls) == (store, at.strip(), url, 0)
    await reader.aclose()


def test_a_file_is_its_own_store(tmp_path: Path) -> None:
    """The file that spans are written to is read without being named again; other destinations have no default."""
    at = f"otlp-file:{tmp_path}/spans.jsonl"
    assert default_at(at) == at
    assert open_reader(at, headers={}, ca_file=None).store == "otlp-file"
    assert {default_at(dest) for dest in ("otlp", "otlp+grpc://host:1", "console", "exporter:x", "otlp-file:")} == {
        None
    }


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ("", "not a store"),
        ("jaeger", "not a store"),
        ("jaeger://host", "not a store"),
        ("zipkin+http://host", "not a store"),
        ("otlp-file:", "not a store"),
        ("reader:", "not a store"),
        ("jaeger+grpc:host", "no address"),
        ("jaeger+grpc://", "no usable host"),
        ("jaeger+grpc://host:0", "no usable host"),
        ("jaeger+grpc://host:x", "bad address"),
        ("jaeger+grpc://ho st:1", "no usable host"),
        ("jaeger+grpc://host/base", "has a path"),
        ("tempo+http://me:s3cret@host", "user name or password"),
        ("tempo+http://host?token=s3cret", "has a query"),
        ("me:s3cret@host", "not a store"),
    ],
)
def test_anything_else_is_a_usage_error(at: str, says: str) -> None:
    """The message says what is wrong and how to write it, without what could be a secret."""
    with pytest.raises(UsageError, match=says) as raised:
        open_reader(at, headers={}, ca_file=None)
    assert "s3cret" not in str(raised.value)
    assert raised.value.hint


def test_a_receiver_is_no_store() -> None:
    """Who names an OTLP receiver is told to name the store behind it, and all forms."""
    with pytest.raises(UsageError) as raised:
        open_reader("otlp+grpc://collector:4317", headers={}, ca_file=None)
    assert "name the store behind it" in raised.value.hint
    for form in ("jaeger+grpcs://", "tempo+https://", "phoenix+http://", "otlp-file:PATH", "reader:NAME"):
        assert form in raised.value.hint


def test_certificates_must_be_there(tmp_path: Path) -> None:
    """A CA file that cannot be read is a configuration error that names it."""
    with pytest.raises(ConfigurationError, match=r"nowhere\.pem"):
        open_reader("jaeger+grpcs://host", headers={}, ca_file=str(tmp_path / "nowhere.pem"))


@pytest.mark.parametrize("at", ["jaeger+grpc://host", "tempo+http://host"])
@pytest.mark.parametrize("headers", [{"x token": "s3cret"}, {"x-token": "s3cret\nX: y"}, {"": "s3cret"}])
def test_headers_must_be_sendable(at: str, headers: Mapping[str, str]) -> None:
    """A header that HTTP cannot carry is a configuration error that does not repeat it."""
    with pytest.raises(ConfigurationError, match="header") as raised:
        open_reader(at, headers=headers, ca_file=None)
    assert "s3cret" not in str(raised.value)


class Own:
    """A reader of a user's own."""

    store = "mine"
    concurrency = 2
    calls = 0

    def __init__(self, rest: str, headers: Mapping[str, str]) -> None:
        self.at = f"reader:mine:{rest}"
        self.headers = headers
        self.form = FileForm()
        if rest == "broken":
            raise ValueError(f"cannot use {headers}")

    async def read(self, trace_id: str, start_ns: int) -> bytes:
        return b""

    async def aclose(self) -> None:
        pass


def nothing(rest: str, headers: Mapping[str, str]) -> object:
    """Return what is no reader."""
    return object()


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        name: EntryPoint(name, f"{__name__}:{value}", names.GROUP)
        for name, value in (("mine", "Own"), ("nothing", "nothing"), ("gone", "gone"))
    }
    monkeypatch.setattr(names, "installed", lambda group: found if group == names.GROUP else {})


def test_a_readers_entry_point_is_called_with_the_rest_and_the_headers() -> None:
    """All after the name is the reader's own, colons included."""
    reader = open_reader("reader:mine:a:b", headers={"x": "1"}, ca_file=None)
    assert isinstance(reader, Own)
    assert (reader.at, reader.headers) == ("reader:mine:a:b", {"x": "1"})


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ("reader:other", "installed here: gone, mine, nothing"),
        ("reader:gone", "failed to load"),
        ("reader:mine:broken", r"failed to start: ValueError: cannot use .*\*\*\*"),
        ("reader:nothing", "has no read, aclose"),
    ],
)
def test_a_readers_entry_point_that_does_not_work(at: str, says: str) -> None:
    """The message says why, without the headers that the reader repeats."""
    with pytest.raises(ConfigurationError) as raised:
        open_reader(at, headers={"x": "s3cret"}, ca_file=None)
    assert raised.match(says)
    assert "s3cret" not in str(raised.value)
