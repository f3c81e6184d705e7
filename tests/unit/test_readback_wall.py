"""A reader of the user's own that raises, hangs, or returns what it must not, ends a proof with an error about itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from netra_otel_bridge.core.errors import BridgeError, DestinationUnavailable
from netra_otel_bridge.core.model.readback import StoreReport
from netra_otel_bridge.readback import wall
from netra_otel_bridge.readback.verify import verify_store
from tests.support.fake_clock import FakeClock
from tests.support.scripted_store import Expected, Index, ScriptedReader, SearchedReader, expected_trace, request
from tests.support.spans import START_NS, make_span

SPANS = [make_span(1, trace_id=1), make_span(2, trace_id=1)]
TRACE = expected_trace(SPANS)
WHO = "the reader own at own+grpc://127.0.0.1:16685"


class Own(SearchedReader):
    """A reader that reads and finds what it should, unless a test replaces a method."""

    def __init__(self) -> None:
        super().__init__({TRACE.trace_id: request(SPANS)}, store="own")
        self.clock = FakeClock()
        self.index = {TRACE.trace_id: Index("agents", START_NS)}


def raising(error: BaseException) -> Callable[..., Awaitable[Any]]:
    async def call(*_: object) -> object:
        raise error

    return call


def returning(value: object) -> Callable[..., Awaitable[Any]]:
    async def call(*_: object) -> object:
        return value

    return call


async def verified(reader: ScriptedReader) -> StoreReport:
    return await verify_store(reader, Expected([TRACE]), None, name="store", clock=FakeClock())


FOREIGN = [
    KeyError("x"),
    OSError("no route"),
    TimeoutError(),
    TypeError("bad"),
    SystemExit(3),
    asyncio.CancelledError(),
]


@pytest.mark.parametrize("method", ["read", "find"])
@pytest.mark.parametrize("error", FOREIGN, ids=lambda error: type(error).__name__)
async def test_an_exception_of_a_reader_is_a_bug_in_the_reader(
    method: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the reader, its address and the exception; the exit code is 1, and the report remains."""
    reader = Own()
    monkeypatch.setattr(reader, method, raising(error))
    report = await verified(reader)
    assert report.error is not None
    assert (type(report.error), report.error.exit_code, report.error.hint) == (BridgeError, 1, wall.HINT)
    assert report.error.message.startswith(f"{WHO} raised {type(error).__name__}")
    assert report.error.message.endswith(f" in {method}")
    assert report.missing == 0


@pytest.mark.parametrize(("method", "value"), [("read", None), ("read", "text"), ("find", ["id"]), ("find", "id")])
async def test_a_result_of_another_type_is_a_bug_in_the_reader(
    method: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither None nor a text is read as "the store has nothing"."""
    reader = Own()
    monkeypatch.setattr(reader, method, returning(value))
    report = await verified(reader)
    assert report.error is not None
    kind = "None" if value is None else type(value).__name__
    assert report.error.message.startswith(f"{WHO} returned {kind} from {method}")
    assert (report.error.exit_code, report.missing, report.hidden) == (1, 0, 0)


async def test_a_reader_that_hangs_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call has its deadline, after which the store counts as not available."""
    monkeypatch.setattr(wall, "READ_DEADLINE_S", 0.01)
    reader = Own()

    async def hang(*_: object) -> bytes:
        await asyncio.Event().wait()
        return b""

    monkeypatch.setattr(reader, "read", hang)
    report = await verified(reader)
    assert isinstance(report.error, DestinationUnavailable)
    assert "did not return from read within 0.01 s" in report.error.message


async def test_a_cancelled_proof_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation by the caller is passed on."""
    reader, asked = Own(), asyncio.Event()

    async def hang(*_: object) -> bytes:
        asked.set()
        await asyncio.Event().wait()
        return b""

    monkeypatch.setattr(reader, "read", hang)
    proof = asyncio.create_task(verified(reader))
    await asked.wait()
    proof.cancel()
    with pytest.raises(asyncio.CancelledError):
        await proof


@pytest.mark.parametrize("error", [KeyError("x"), asyncio.CancelledError(), DestinationUnavailable("gone")])
async def test_a_reader_that_cannot_be_closed_is_logged(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """All is verified by then, so it is a warning."""
    reader = Own()
    reader.aclose = raising(error)  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING):
        await wall.close(reader)
    assert len(caplog.records) == 1
