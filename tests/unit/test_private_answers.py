"""Netra's own words follow the privacy policy: those of error responses, and of the list of traces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge.source.failures import Redactor
from tests.support.cli import Result, environment, run
from tests.support.scripted_api import Reply, Request, ServerThread, json_reply, page, span, trace

pytestmark = pytest.mark.faults

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


def odd_trace(number: int) -> dict[str, Any]:
    """Return a summary whose every text is a sentence with the mark."""
    texts = dict.fromkeys(("name", "kind", "start_time", "end_time", "session_id", "tenant_id", "service"), PROSE)
    return trace(number, **texts, models=[PROSE], latency_ms=12)


def listed(*traces: dict[str, Any], options: tuple[str, ...] = (), **policy: str) -> str:
    """Return what `traces list` prints of these traces."""
    with ServerThread([json_reply(page(traces))]) as api:
        result = run("traces", "list", "--since", "24h", *options, env=environment(api.endpoint, **policy))
    assert (result.code, result.err) == (0, "")
    return result.out


def test_the_list_follows_the_policy() -> None:
    """A name, service or tenant that is content is not listed, nor a time that is none; a line says how much that was."""
    known = trace(2, name="my illness", kind="GENERATION", service="shop", tenant_id="acme", **TIMES)
    out = listed(odd_trace(1), known, **DROP)
    assert MARK not in out
    assert "illness" not in out
    assert "internal" in out, "the kind in place of a name"
    assert "chat" in out, "the operation in place of a name"
    assert "shop" in out
    assert "acme" in out
    assert "The privacy policy of the settings left out 8 attributes with content." in " ".join(out.split())


def test_the_list_is_redacted_and_its_json_is_netras() -> None:
    """`redact` replaces matches in the table; the key ``traces`` of the JSON is Netra's answer, which no policy changes."""
    out = " ".join(listed(odd_trace(1), **REDACT).split())
    assert MARK not in out
    assert "The privacy policy of the settings replaced 7 texts." in out
    assert "policy" not in listed(trace(1, name=PROSE))
    assert MARK in listed(odd_trace(1), options=("--json",), **DROP)


@pytest.mark.parametrize("policy", [DROP, REDACT], ids=["drop", "redact"])
@pytest.mark.parametrize("options", [(), ("--messages",)], ids=["tree", "messages"])
def test_a_drawn_trace_has_no_unknown_kind(policy: dict[str, str], options: tuple[str, ...]) -> None:
    """A kind, or the id of a parent, that is a sentence is not drawn."""
    odd = span(1, kind=PROSE, parent_span_id=f"parent {MARK}", attributes="{}", **TIMES)
    with ServerThread([json_reply(page([odd, span(2, kind="TOOL")]))]) as api:
        result = run("traces", "show", "ab" * 16, *options, env=environment(api.endpoint, **policy))
    assert result.code == 0
    assert MARK not in result.out
    assert "is not in the trace" in result.out or options


@pytest.mark.parametrize("policy", [DROP, REDACT], ids=["drop", "redact"])
def test_the_summary_of_a_held_trace_is_stored_without_content(tmp_path: Path, policy: dict[str, str]) -> None:
    """A kind or time of a trace that is a sentence is not stored while the trace is held back."""

    def answer(request: Request) -> Reply:
        if "/spans" not in request.target:
            return json_reply(page([odd_trace(1), *(trace(number, **TIMES) for number in range(2, 6))]))
        if f"{1:032x}" in request.target:
            return json_reply({}, status=500)
        return json_reply(page([span(7)]))

    result, shown = replay(tmp_path, answer, **policy)
    assert result.json["destinations"][0]["held_back"] == 1
    assert MARK not in "".join(one.out + one.err for one in (result, *shown))
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and MARK.encode() in file.read_bytes()]
