"""Netra's own words follow the privacy policy: those of error responses, and of the list of traces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge.source.failures import Redactor
from tests.support.cli import Result, environment, run
from tests.support.scripted_api import Reply, Request, ServerThread, json_reply, page, span, trace

MARK = "Zqx7mark"
PROSE = f"tell me about my illness {MARK}"
DROP = {"NETRA_BRIDGE_CONTENT": "drop"}
PII = {"NETRA_BRIDGE_PII": "drop-content"}
REDACT = {"NETRA_BRIDGE_CONTENT": "redact", "NETRA_BRIDGE_REDACT": MARK}
START = "2026-11-29T00:00:00.000Z"
TIMES = {"start_time": START, "end_time": START}


def replay(tmp_path: Path, script: Any, **policy: str) -> tuple[Result, list[Result]]:
    """Replay with debug messages into a state; return the result, and what other commands show of it."""
    state = str(tmp_path / "state")
    with ServerThread(script) as api:
        env = environment(api.endpoint, NETRA_BRIDGE_ATTEMPTS="2", **policy)
        to = f"otlp-file:{tmp_path / 'out.json'}"
        result = run("replay", "--from", "2026-11-28", "--to", to, "--state", state, "-v", "--json", env=env)
        shown = [
            run("status", "--state", state, "--json", env=env),
            run("state", "held-back", "--state", state, "--json", env=env),
            run("state", "dead-letters", "--state", state, "--json", env=env),
        ]
    return result, shown


def one_bad_trace(status: int) -> Any:
    """Return an API with traces of which the first answers an error that repeats content."""

    def answer(request: Request) -> Reply:
        if "/spans" not in request.target:
            return json_reply(page([trace(number, **TIMES) for number in range(1, 6)]))
        if f"{1:032x}" in request.target:
            return json_reply({"error": {"message": PROSE, "code": "bad_filter"}}, status=status)
        return json_reply(page([span(7)]))

    return answer


@pytest.mark.parametrize("policy", [DROP, PII, REDACT], ids=["drop", "pii", "redact"])
@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("held", [True, False], ids=["one trace", "the list"])
def test_error_words_are_nowhere(tmp_path: Path, policy: dict[str, str], status: int, held: bool) -> None:
    """Words of an error response are neither logged, reported nor stored; a drop leaves its code, `redact` the rest."""
    whole = json_reply({"message": PROSE, "code": "bad_filter"}, status=status)
    result, shown = replay(tmp_path, one_bad_trace(status) if held else [whole], **policy)
    said = "".join(one.out + one.err for one in (result, *shown))
    assert MARK not in said
    assert f"HTTP {status}: {'tell me about my illness [redacted]' if policy is REDACT else 'bad_filter'}" in said
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in files if MARK.encode() in file.read_bytes()]


def test_without_a_policy_the_words_are_shown(tmp_path: Path) -> None:
    """An error says what Netra said."""
    result, _ = replay(tmp_path, [json_reply({"message": PROSE}, status=400)])
    assert PROSE in result.out + result.err


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"error": {"message": PROSE, "code": "bad_filter"}}, "bad_filter"),
        ({"error": "validation_error", "message": PROSE}, "validation_error"),
        ({"code": 1042, "error": PROSE}, "1042"),
        ({"message": MARK, "detail": MARK}, ""),
        ({"type": PROSE, "code": True, "error": {"type": "x" * 65}}, ""),
        ([{"code": "in_a_list"}], ""),
        (PROSE, ""),
    ],
)
def test_the_code_of_an_error(answer: Any, code: str) -> None:
    """A code is a word under a name of codes; a message is none, even if it is one word."""
    assert Redactor(policy=lambda _, code: code).words(json.dumps(answer).encode()) == code
    assert Redactor(policy=lambda _, code: code).words(b"<html>" + PROSE.encode()) == ""
    assert Redactor(policy=lambda _, code: code).words(PROSE.encode()) == ""
