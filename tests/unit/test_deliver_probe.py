"""`probe`: what a destination says to nothing at all, what that leaves unknown, and that nothing is written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from grpc import StatusCode
from opentelemetry.sdk.trace.export import SpanExportResult

from netra_otel_bridge.deliver import ExporterDestination, ProbeResult, batch_of, open_destination, probe
from tests.support.exporters import ScriptedExporter, fails_saying
from tests.support.fake_destination import FakeDestination, Hang, Raw, Reject
from tests.support.spans import make_span

BATCH = batch_of((make_span(1),))


@pytest.fixture
def fake() -> Iterator[FakeDestination]:
    with FakeDestination() as server:
        yield server


def url(fake: FakeDestination, transport: str) -> str:
    return fake.grpc_url if transport == "grpc" else fake.http_url


async def probed(where: str, **options: float) -> ProbeResult:
    destination = open_destination(where, **options)  # type: ignore[arg-type]  # deadline_s and timeout_s alone
    try:
        return await probe(destination)
    finally:
        await destination.aclose()


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_an_otlp_server_is_asked_with_a_request_without_spans(fake: FakeDestination, transport: str) -> None:
    """It is reached, speaks OTLP and takes the credentials; no span is sent, and what is not known is said."""
    result = await probed(url(fake, transport))
    assert result.ok
    assert result.exit_code == 0
    assert "large or old spans" in result.unknown
    assert [received.size_bytes for received in fake.received] == [0]
    assert fake.stored_ids() == []


@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize(
    ("decision", "code", "said"),
    [
        (Reject(StatusCode.UNAUTHENTICATED, 401, "no key"), 77, "refuses the credentials"),
        (Reject(StatusCode.PERMISSION_DENIED, 403, "not you"), 77, "not you"),
        (Reject(StatusCode.UNIMPLEMENTED, 404, "unknown service"), 78, "unknown service"),
        (Reject(StatusCode.UNAVAILABLE, 503, "draining"), 69, "draining"),
        (Reject(StatusCode.RESOURCE_EXHAUSTED, 429, "RATE_LIMITED"), 69, "RATE_LIMITED"),
        (Hang(), 69, ""),
    ],
)
async def test_what_is_wrong_is_said_with_the_exit_code_that_a_lane_would_have(
    fake: FakeDestination, transport: str, decision: Reject | Hang, code: int, said: str
) -> None:
    """One line, one request, no second try."""
    fake.script(decision)
    result = await probed(url(fake, transport), timeout_s=0.3)
    assert (result.ok, result.exit_code) == (False, code)
    assert said in result.said
    assert result.said
    assert "\n" not in result.said + result.unknown
    assert len(fake.received) == 1


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_nothing_listens(transport: str) -> None:
    """Not reached is not available: try again later."""
    result = await probed(f"otlp+{transport}://127.0.0.1:9")
    assert (result.ok, result.exit_code) == (False, 69)
    assert "refused" in result.said


async def test_a_login_page_is_not_ok(fake: FakeDestination) -> None:
    """A web page and a redirect answer every request, also one without spans."""
    fake.script(Raw(200, b"<html>", {"Content-Type": "text/html"}), Raw(302, b"", {"Location": "/login"}))
    for said in ("web page", "redirect"):
        result = await probed(fake.http_url)
        assert (result.ok, result.exit_code) == (False, 78)
        assert said in result.said


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_a_server_that_takes_no_empty_request_is_reached_and_the_rest_is_unknown(
    fake: FakeDestination, transport: str
) -> None:
    """It answered and did not refuse the credentials; whether it takes spans cannot be told without any."""
    fake.script(Reject(StatusCode.INVALID_ARGUMENT, 400, "no spans"))
    result = await probed(url(fake, transport))
    assert result.ok
    assert "no spans" in result.said
    assert "whether it takes spans at all" in result.unknown


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_a_key_that_is_repeated_by_the_server_is_not_shown(
    fake: FakeDestination, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is printed passes through the same mask as every reason."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20canary-4711")
    fake.script(Reject(StatusCode.UNAUTHENTICATED, 401, "canary-4711 is not known"))
    result = await probed(url(fake, transport))
    assert "canary" not in repr(result)
    assert "***" in result.said


async def test_a_file_is_looked_at_and_neither_made_nor_repaired(tmp_path: Path) -> None:
    """Probing leaves no file where there was none, and a torn end as it is; both would be mended by the first batch."""
    fresh, torn = tmp_path / "fresh.jsonl", tmp_path / "torn.jsonl"
    torn.write_bytes(b'{"resourceSp')
    for path in (fresh, torn):
        result = await probed(f"otlp-file:{path}")
        assert (result.ok, result.exit_code) == (True, 0)
        assert "room" in result.unknown
    assert os.listdir(tmp_path) == ["torn.jsonl"]
    assert torn.read_bytes() == b'{"resourceSp'


async def test_a_directory_that_went_away_is_said(tmp_path: Path) -> None:
    """A destination that was good when it was opened is looked at again."""
    (tmp_path / "there").mkdir()
    destination = open_destination(f"otlp-file:{tmp_path}/there/spans.jsonl")
    (tmp_path / "there").rmdir()
    result = await probe(destination)
    assert (result.ok, result.exit_code) == (False, 78)
    assert f"no directory {tmp_path}/there" in result.said
    await destination.aclose()


async def test_a_named_pipe_is_not_opened(tmp_path: Path) -> None:
    """Opening one without a reader would hang; it is there and may be written, more is not asked."""
    os.mkfifo(tmp_path / "pipe")
    assert (await probed(f"otlp-file:{tmp_path}/pipe")).ok


async def test_success_of_an_exporter_is_no_proof() -> None:
    """It was handed nothing and may not even have connected: that is said, and it is still in use afterwards."""
    exporter = ScriptedExporter()
    destination = ExporterDestination("mine", exporter)
    result = await probe(destination)
    assert result.ok
    assert "no proof" in result.said
    assert "whether spans would arrive" in result.unknown
    assert exporter.calls == [()]
    await destination.send(BATCH)
    assert exporter.calls[1] == BATCH.spans
    await destination.aclose()


async def test_the_console_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing was handed over."""
    assert (await probed("console")).ok
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("step", "ok", "code"),
    [
        (fails_saying("Failed to export: UNAUTHENTICATED"), False, 77),
        (fails_saying("Failed to export: UNAVAILABLE"), False, 69),
        (fails_saying("server answered 404"), False, 78),
        (None, False, 78),
        (ConnectionRefusedError(111, "Connection refused"), False, 69),
        (IndexError("list index out of range"), True, 0),
        (SpanExportResult.SUCCESS, True, 0),
    ],
)
async def test_an_exporter_that_fails_on_nothing_says_why(step: object, ok: bool, code: int) -> None:
    """A failure is a finding; an exception about the empty batch itself is not one."""

    class Returns(ScriptedExporter):
        def export(self, spans: object) -> SpanExportResult:  # type: ignore[override]  # any answer, None included
            return super().export(spans) if callable(step) or step is not None else None  # type: ignore[arg-type,return-value]

    destination = ExporterDestination("mine", Returns(step))
    result = await probe(destination)
    assert (result.ok, result.exit_code) == (ok, code)
    await destination.aclose()
