"""Everything that any `SpanExporter` returns, logs and raises becomes an `Outcome`."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading

import pytest
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_value
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Refused,
    Retry,
    SpanBatch,
    TooLarge,
)
from netra_otel_bridge.deliver import ExporterDestination, batch_of
from tests.support.exporters import ScriptedExporter, fails_saying, waits_for
from tests.support.spans import make_span
from tests.support.waiting import DEADLINE_S, until

BATCH = batch_of((make_span(1), make_span(2)))
OTHER = batch_of((make_span(3),))


async def answer_to(step: object) -> Outcome:
    destination = ExporterDestination("test", ScriptedExporter(step), deadline_s=1)
    try:
        return await destination.send(BATCH)
    finally:
        await destination.aclose()


async def test_an_in_memory_exporter_gets_the_spans_themselves() -> None:
    """Any exporter works, and receives the spans of the batch in order."""
    exporter = InMemorySpanExporter()
    destination = ExporterDestination("memory", exporter)
    assert await destination.send(BATCH) == Delivered()
    assert exporter.get_finished_spans() == BATCH.spans
    await destination.aclose()


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("Failed to export: UNAVAILABLE", Retry),
        ("connection refused", Retry),
        ("DEADLINE_EXCEEDED", Retry),
        ("HTTP 429 Too Many Requests", Retry),
        ("RESOURCE_EXHAUSTED: slow down", Retry),
        ("the disk of the collector is on fire", Retry),
        ("RESOURCE_EXHAUSTED: received message larger than max (9 vs. 4)", TooLarge),
        ("status 413: Request Entity Too Large", TooLarge),
        ("status 400: http: request body too large", TooLarge),
        ("INVALID_ARGUMENT: bad trace id", Refused),
        ("FAILED_PRECONDITION TRACE_TOO_LARGE", Refused),
        ("Failed to export, code: 400, reason: Bad Request", Refused),
        ("UNIMPLEMENTED", Misconfigured),
        ("server answered 404", Misconfigured),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] unable to get local issuer certificate", Misconfigured),
        ("UNAUTHENTICATED", Misconfigured),
        ("server answered 403 Forbidden", Misconfigured),
    ],
)
async def test_a_failure_means_what_the_exporter_logged(words: str, outcome: type) -> None:
    """FAILURE has no reason; the log tells whether to wait, split or give up, and is shown as the reason."""
    answer = await answer_to(fails_saying("%s", words))
    assert isinstance(answer, outcome)
    assert not isinstance(answer, Delivered)
    assert words in answer.reason


async def test_a_failure_without_a_word_is_tried_again() -> None:
    """An unknown reason means to retry."""
    assert isinstance(await answer_to(SpanExportResult.FAILURE), Retry)


async def test_the_exporters_log_stays_off_the_applications_handlers(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The log of the exporter becomes the reason, once; records of other threads reach the handlers."""
    logger = logging.getLogger("opentelemetry.exporter.test")
    await answer_to(fails_saying("UNAVAILABLE, the %s time", "hundredth"))
    assert caplog.records == []
    logger.error("said elsewhere")
    assert [record.message for record in caplog.records] == ["said elsewhere"]
    assert capfd.readouterr().err == ""


async def test_what_is_said_on_success_is_a_warning_without_values() -> None:
    """If an exporter drops an attribute and returns SUCCESS, that is logged without content."""

    def step() -> SpanExportResult:
        logging.getLogger("opentelemetry.exporter.test").error("Failed to encode key %s: %s", "input", "a prompt")
        return SpanExportResult.SUCCESS

    assert await answer_to(step) == Delivered("Failed to encode key %s: %s")


@pytest.mark.parametrize("error", [ValueError("bad\nspan"), KeyError("x"), SystemExit(3), KeyboardInterrupt()])
async def test_an_exporter_that_raises_refuses(error: BaseException) -> None:
    """One span may be at fault: the reason is the text of the exception, on one line."""
    answer = await answer_to(error)
    assert isinstance(answer, Refused)
    assert type(error).__name__ in answer.reason
    assert "\n" not in answer.reason


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), TimeoutError("slow"), OSError(28, "No space left")])
async def test_an_exporter_whose_surroundings_fail_is_tried_again(error: OSError) -> None:
    """A broken connection or disk is no fault of a span."""
    assert isinstance(await answer_to(error), Retry)


@pytest.mark.parametrize("result", [None, True, 0, "SUCCESS"])
async def test_an_exporter_that_does_not_say_is_misconfigured(result: object) -> None:
    """Without a `SpanExportResult` the fate of the spans is unknown: nothing is recorded or dead-lettered."""
    answer = await answer_to(lambda: result)
    assert isinstance(answer, Misconfigured)
    assert "SpanExportResult" in answer.reason


async def test_two_exports_never_run_at_once() -> None:
    """Batches that are sent at the same time go one after another, on one thread of the destination."""
    exporter = ScriptedExporter()
    destination = ExporterDestination("turns", exporter)
    answers = await asyncio.gather(*(destination.send(batch_of((make_span(n),))) for n in range(1, 21)))
    assert answers == [Delivered()] * 20
    assert exporter.most_at_once == 1
    assert exporter.threads == {"export turns"}
    await destination.aclose()


async def is_taken(destination: ExporterDestination, batch: SpanBatch) -> bool:
    """Send a batch, and return whether it was delivered within the deadline, which a busy machine may miss."""
    return await destination.send(batch) == Delivered()


async def test_a_batch_after_one_that_hangs_waits_and_never_runs_beside_it() -> None:
    """A hanging export is `Retry` after the deadline; another batch waits for it first."""
    release = threading.Event()
    exporter = ScriptedExporter(waits_for(release))
    destination = ExporterDestination("slow", exporter, deadline_s=0.05)
    assert await destination.send(BATCH) == Retry("the exporter did not return within 0.05 s")
    assert isinstance(await destination.send(OTHER), Retry)
    assert exporter.calls == [BATCH.spans]
    release.set()
    await until(lambda: is_taken(destination, OTHER))
    assert exporter.calls == [BATCH.spans, OTHER.spans]
    assert exporter.most_at_once == 1
    await destination.aclose()


async def test_the_late_answer_counts_for_the_same_batch() -> None:
    """An exporter slower than the deadline delivers, and the batch is not sent twice."""
    release = threading.Event()
    exporter = ScriptedExporter(waits_for(release))
    destination = ExporterDestination("slow", exporter, deadline_s=0.05)
    assert isinstance(await destination.send(BATCH), Retry)
    release.set()
    await until(lambda: is_taken(destination, BATCH))
    assert exporter.calls == [BATCH.spans]
    await destination.aclose()


async def test_a_cancelled_send_leaves_its_export_the_running_one() -> None:
    """A cancelled `send` (a stop, an outer timeout) does not start a second export either."""
    release = threading.Event()
    begun = threading.Event()

    def step() -> object:
        begun.set()
        return waits_for(release)()

    exporter = ScriptedExporter(step)
    destination = ExporterDestination("slow", exporter)
    task = asyncio.create_task(destination.send(BATCH))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    assert await destination.send(BATCH) == Delivered()
    assert len(exporter.calls) == 1
    await destination.aclose()


async def test_closing_flushes_and_shuts_down_once() -> None:
    """The exporter is shut down once, on its thread, whatever its methods do."""
    exporter = ScriptedExporter()
    destination = ExporterDestination("once", exporter)
    await destination.aclose()
    await destination.aclose()
    assert (exporter.flushed, exporter.shut_down) == (1, 1)

    class Broken(ScriptedExporter):
        def shutdown(self) -> None:
            raise RuntimeError("no")

    await ExporterDestination("broken", Broken()).aclose()


async def test_an_exporter_that_is_somebody_elses_is_only_flushed() -> None:
    """With ``shut_down=False`` its owner can still use it."""
    exporter = ScriptedExporter()
    await ExporterDestination("lent", exporter, shut_down=False).aclose()
    assert (exporter.flushed, exporter.shut_down) == (1, 0)


async def test_exports_are_not_traced_themselves() -> None:
    """In an instrumented application, requests of the exporter create no spans."""
    seen: list[object] = []

    def step() -> SpanExportResult:
        seen.append(get_value(_SUPPRESS_INSTRUMENTATION_KEY))
        return SpanExportResult.SUCCESS

    assert await answer_to(step) == Delivered()
    assert seen == [True]


async def test_a_reason_never_holds_a_secret_nor_a_page() -> None:
    """A key that a server repeats is masked, and a web page is cut to a line."""
    exporter = ScriptedExporter(fails_saying("key canary-4711 is unknown " + "x" * 5000))
    destination = ExporterDestination("masked", exporter, secrets=["canary-4711"])
    answer = await destination.send(BATCH)
    assert isinstance(answer, Retry)
    assert "canary" not in answer.reason
    assert "key *** is unknown" in answer.reason
    assert len(answer.reason) <= 400
    await destination.aclose()


@pytest.mark.faults
def test_a_process_ends_although_an_exporter_hangs() -> None:
    """The thread is a daemon: neither the interpreter's exit nor `aclose` waits for a call that never returns."""
    program = """
import asyncio, threading
from netra_otel_bridge.deliver import ExporterDestination, batch_of
from netra_otel_bridge.deliver.adapters import exporter
from tests.support.exporters import ScriptedExporter, waits_for
from tests.support.spans import make_span

exporter.CLOSE_DEADLINE_S = 0.05

async def main():
    stuck = ScriptedExporter(lambda: threading.Event().wait())
    destination = ExporterDestination("stuck", stuck, deadline_s=0.05)
    print(await destination.send(batch_of((make_span(1),))))
    await destination.aclose()

asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    assert "did not return" in ended.stdout
