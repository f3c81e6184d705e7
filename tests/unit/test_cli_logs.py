"""Logs: one line for each record in both forms, no secret in any, repeats at most once a minute."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from netra_otel_bridge.cli import logs
from netra_otel_bridge.cli.logs import Form, JsonLine, TextLine, configure
from netra_otel_bridge.cli.redactor import Redactor
from netra_otel_bridge.core.json_text import clean_text
from netra_otel_bridge.core.log_limit import MAX_KEYS, LogLimit
from tests.support.cli import ROOT
from tests.support.fake_clock import FakeClock

LOG = logging.getLogger("netra_otel_bridge.test")
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
SECRET = 'se"cret\\key'


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Restore the process's logging."""
    logger = logging.getLogger(logs.PACKAGE)
    before = (logger.handlers, logger.level, logger.propagate, logging.lastResort)
    yield
    logger.handlers, logger.level, logger.propagate, logging.lastResort = before


def record(message: object, *args: object, level: int = logging.WARNING, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("netra_otel_bridge.x", level, "", 0, message, args, None)
    made.created = 1_777_593_600.25
    made.netra = fields
    return made


class Awkward:
    """Raises when it is printed."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def logged(form: Form, **how: Any) -> tuple[io.StringIO, logging.Logger]:
    stream = io.StringIO()
    configure(logging.INFO, form, stream, **how)
    return stream, LOG


def test_text_is_level_and_message() -> None:
    """Records below the level are dropped."""
    stream, log = logged("text")
    log.warning("traces page %d: slow", 3)
    log.debug("left out")
    assert stream.getvalue() == "warning: traces page 3: slow\n"


def test_text_of_a_service_has_the_time_in_front() -> None:
    """The time is ISO 8601, UTC, to the millisecond."""
    stream, log = logged("text", stamped=True)
    log.info("ready")
    assert re.fullmatch(rf"{STAMP} info: ready\n", stream.getvalue())


def test_a_message_cannot_draw_on_the_terminal_or_make_a_second_line() -> None:
    """Control characters, even from a server's response, are escaped; a lone surrogate is printable too."""
    line = TextLine(Redactor())(record("a\nb\x1b[2J\x85\u2028\ud800é"))
    assert line == r"warning: a\nb\x1b[2J\x85\u2028\ud800é"


def test_text_goes_above_the_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a stream, the console that draws the progress bar prints the line, without reading markup or emoji in it."""
    screen = io.StringIO()
    monkeypatch.setattr(logs, "err", Console(file=screen, force_terminal=True, width=40, color_system="standard"))
    configure(logging.INFO)
    LOG.warning("[bold]x[/bold] otlp:100:y %s", "long " * 20)
    LOG.info("detail")
    assert screen.getvalue() == f"warning: [bold]x[/bold] otlp:100:y {'long ' * 20}\n\x1b[2minfo: detail\x1b[0m\n"


def test_json_is_an_object_a_line_with_the_fields_that_were_given() -> None:
    """``time``, ``level``, ``logger`` and ``message`` are always there and cannot be replaced."""
    stream, log = logged("json")
    log.warning("held %s", "up", extra={"netra": {"destination": "jaeger", "lag_s": 1.5, "level": "fatal"}})
    log.info("two\nlines")
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert re.fullmatch(STAMP, first.pop("time"))
    assert first == {
        "level": "warning",
        "logger": "netra_otel_bridge.test",
        "message": "held up",
        "destination": "jaeger",
        "lag_s": 1.5,
    }
    assert second["message"] == "two\nlines"


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_is_part_of_the_line(form: Form) -> None:
    """An exception is logged as its type and text, never as a traceback."""
    stream, log = logged(form)
    try:
        raise ValueError("bad\nvalue")
    except ValueError:
        log.exception("it failed")
    assert stream.getvalue().count("\n") == 1
    if form == "json":
        assert json.loads(stream.getvalue())["exception"] == "ValueError: bad\nvalue"
    else:
        assert stream.getvalue() == "error: it failed: ValueError: bad\\nvalue\n"


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)) | st.binary()
    | st.just(SECRET) | st.builds(Awkward) | st.just(b"\xff"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.just(SECRET), inner)
    | st.sets(st.integers()),
    max_leaves=8,
)  # fmt: skip


@given(st.text(st.characters(codec=None)), ODD, st.text(min_size=1))
def test_any_value_comes_out_as_one_line_of_json_without_secrets(message: str, value: object, name: str) -> None:
    """No value raises. A secret is masked wherever it appears, even where JSON escapes it."""
    line = JsonLine(Redactor([SECRET]))(record(f"{message}{SECRET}", **{name: value}))
    assert not re.search(r"[\r\n]", line)
    assert json.loads(line)["message"] == clean_text(message) + "***"
    assert json.dumps(SECRET)[1:-1] not in line
    line.encode("utf-8")


@given(st.text(st.characters(codec=None)), ODD)
def test_any_message_comes_out_as_one_line_of_text_without_secrets(message: str, value: object) -> None:
    """A secret is masked even if the arguments do not fit the message."""
    line = TextLine(Redactor([SECRET]))(record(f"{message}{SECRET} %s", value))
    assert len(line.splitlines()) == 1
    assert SECRET not in line
    line.encode("utf-8")


def test_values_without_end_come_out() -> None:
    """A list that contains itself, deep nesting, a long integer, an unprintable value and wrong arguments are logged."""
    endless: list[object] = []
    endless.append(endless)
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    line = JsonLine(Redactor())(record("%d of %s", Awkward(), a=endless, b=deep, c=Awkward(), d=10**5000))
    document = json.loads(line, parse_int=str)
    assert document["message"] == "%d of %s"
    assert document["c"] == "a Awkward that cannot be shown"
    assert document["d"] == f"1{5000 * '0'}"


def test_secrets_may_be_added_and_short_ones_are_none() -> None:
    """The longest secret is replaced first, so that nothing of it remains if it begins with another."""
    redact = Redactor(["key-1"])
    redact.add("key-1-and-more")
    redact.add("k")
    redact.add("")
    assert redact("key-1-and-more key-1 k") == "*** *** k"


def test_a_stream_that_is_closed_stops_nobody() -> None:
    """A closed stream is ignored: nobody is left to tell."""
    stream, log = logged("json")
    stream.close()
    log.warning("into the void")


PROGRAM = """
import logging, sys
from netra_otel_bridge.cli.logs import configure
from netra_otel_bridge.cli.redactor import Redactor
configure(logging.INFO, sys.argv[1], redactor=Redactor(["canary-key"]), stamped=True)
logging.getLogger("netra_otel_bridge.x").info("with canary-key")
for attempt in range(3):
    logging.getLogger("opentelemetry.y").warning("attempt %d failed", attempt)
logging.getLogger("opentelemetry.y").info("chatter")
logging.getLogger("netra_otel_bridge.x").error("gone")
"""


def said(form: str, environ: Mapping[str, str], stderr: int = subprocess.PIPE) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, form],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        stderr=stderr,
        check=True,
    )
    return done.stderr.decode().splitlines() if done.stderr else []


@pytest.mark.faults
def test_a_process_writes_nothing_but_its_form() -> None:
    """Warnings of other libraries are masked too, and appear once a minute."""
    lines = [json.loads(line) for line in said("json", {})]
    assert [(line["logger"], line["message"]) for line in lines] == [
        ("netra_otel_bridge.x", "with ***"),
        ("opentelemetry.y", "attempt 0 failed"),
        ("netra_otel_bridge.x", "gone"),
    ]


@pytest.mark.faults
def test_the_journal_gets_priorities_and_puts_its_own_times() -> None:
    """``JOURNAL_STREAM`` is the device and inode of the journal's stream; any other stream is not the journal."""
    reading, writing = os.pipe()
    status = os.fstat(writing)
    said("text", {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, writing)
    os.close(writing)
    with os.fdopen(reading) as stream:
        assert stream.read() == "<6>info: with ***\n<4>warning: attempt 0 failed\n<3>error: gone\n"
    lines = said("text", {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
    assert re.fullmatch(rf"{STAMP} info: with \*\*\*", lines[0])


def test_a_line_that_repeats_comes_once_a_minute_with_its_count() -> None:
    """The first line passes at once. Each key counts separately, and the count covers the lines since the last one seen."""
    clock = FakeClock()
    limit = LogLimit(clock)
    stream, log = logged("json")

    def say(key: str, after_s: float) -> None:
        clock.elapsed_s += after_s
        limit.log(log, logging.WARNING, key, f"{key} is down", attempt=1)

    say("jaeger", 0)
    say("tempo", 1)
    for _ in range(5):
        say("jaeger", 11)
    say("jaeger", 20)
    say("jaeger", 59)
    say("jaeger", 300)
    say("jaeger", 61)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines] == [
        "jaeger is down",
        "tempo is down",
        "jaeger is down (6 times in 76 s)",
        "jaeger is down (2 times in 359 s)",
        "jaeger is down",
    ]
    assert lines[0]["attempt"] == 1


def test_a_line_below_the_level_is_not_the_first() -> None:
    """A line below the level does not suppress one that would be seen."""
    limit = LogLimit(FakeClock())
    stream, log = logged("text")
    limit.log(log, logging.DEBUG, "key", "unseen")
    limit.log(log, logging.WARNING, "key", "seen")
    assert stream.getvalue() == "warning: seen\n"


def test_the_keys_that_are_remembered_are_bounded() -> None:
    """A year of ids does not fill the memory: the key that was silent longest is forgotten."""
    limit = LogLimit(FakeClock())
    for key in range(MAX_KEYS + 1):
        assert limit.due(key) == ""
    assert limit.due(MAX_KEYS) is None
    assert limit.due(1) is None
    assert limit.due(0) == ""
    assert len(limit._lines) == MAX_KEYS
