"""Every command that prints text of Netra or of a destination prints it escaped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from grpc import StatusCode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netra_otel_bridge.core.model.netra import TraceSummary
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import HeldTrace, Progress
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.otlp import read_document
from netra_otel_bridge.state import StateStore
from tests.property.test_outside_text_properties import acts
from tests.support import cli
from tests.support.cli import CANARY
from tests.support.emulator import START_NS, ThreadedEmulator, otlp_document, otlp_span, running_emulator
from tests.support.examples import size
from tests.support.fake_clock import FakeClock
from tests.support.fake_destination import FakeDestination, Reject

HOUR_NS = 3600 * 10**9
EVER = ("--from", iso_ms(START_NS - HOUR_NS), "--until", iso_ms(START_NS + HOUR_NS))
FALSE = "FALSE LINE"
odd = st.text("\x01\t\n\r\x1b\x7f\x85\x9b\u2028\u202e\u2066\ufeffé[b]\\", min_size=1, max_size=5)
WRITTEN = "a\n\x1b[2J\x9b2J\u202e\x85\rb"


@pytest.fixture(scope="module")
def netra() -> Iterator[ThreadedEmulator]:
    with running_emulator(EmulatorOptions(port=0, api_key=CANARY)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeDestination]:
    with FakeDestination() as destination:
        yield destination


def commands(trace_id: str, text: str, to: str, state: str) -> list[tuple[str, ...]]:
    """Return each command that prints text from outside."""
    return [
        ("traces", "list", *EVER),
        ("traces", "show", trace_id),
        ("traces", "show", trace_id, "--messages"),
        ("usage", "tenant", text, *EVER),
        ("usage", "session", text, *EVER),
        ("replay", *EVER, "--to", to, "--state", state),
        ("check", "--to", to),
        ("status", "--state", state),
        ("state", "dead-letters", "--state", state),
        ("state", "held-back", "--state", state),
    ]


def message(text: str, role: str, name: str) -> dict[str, object]:
    """Return a message with a part of each type, whose every text is this one."""
    parts = [
        {"type": "text", "content": text},
        {"type": "reasoning", "content": text},
        {"type": "tool_call", "id": text, "name": text, "arguments": {text: text}},
        {"type": "tool_call_response", "id": text, "response": text},
        {"type": "uri", "modality": text, "mime_type": text, "uri": text},
        {"type": text, text: text},
    ]
    return {"role": role, "name": name, "parts": parts, "finish_reason": text}


@settings(max_examples=size(4, 10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd, st.integers(1, 2**60))
def test_no_command_prints_what_acts_on_the_terminal(
    netra: ThreadedEmulator, fake: FakeDestination, part: str, number: int
) -> None:
    """Names, tenants, sessions, models, problems and reasons make no false line and reach no terminal, as text and JSON."""
    text = f"{WRITTEN}{part}\n{FALSE}"
    attributes = {
        "netra.tenant_id": text, "netra.session_id": text, "netra.user_id": text, "netra.span.type": "GENERATION",
        "gen_ai.request.model": text, "gen_ai.response.model": text, "gen_ai.system": text,
        "gen_ai.response.finish_reasons": [text], "netra.error_message": text,
        "gen_ai.input.messages": json.dumps([message(text, "user", text), message(text, text, text)]),
        "gen_ai.output.messages": json.dumps([message(text, "assistant", text)]),
    }  # fmt: skip
    spans = [
        otlp_span(number, 1, attributes=attributes, name=text, status={"code": 2, "message": text}),
        otlp_span(number, 2, parent=99, name=text),
    ]
    document = read_document(otlp_document(*spans, resource={"service.name": text}))
    assert netra.call(lambda: netra.emulator.store.ingest(document)) == []
    with TemporaryDirectory() as directory:
        state = str(Path(directory) / "state")
        letter = DeadLetter(text, text, text, json.dumps({"name": text}, ensure_ascii=False))
        held = HeldTrace(summary=TraceSummary(id=text, cursor=text, tenant_id=text), start_ns=1, reason=text, attempts=1,
                         first_ns=1, next_ns=1)  # fmt: skip
        with StateStore.open(Path(state), FakeClock()) as store:
            lane = store.lane(netra.emulator.url, text)
            lane.commit(Progress(dead_letters=[letter], problem=text, held=[held]), 1)
        for command in commands(f"{number:032x}", text, fake.grpc_url, state):
            for flags in ((), ("--json",)):
                fake.script(Reject(StatusCode.INVALID_ARGUMENT, 400, text.encode("ascii", "replace").decode()))
                result = cli.run(*command, *flags, env=cli.environment(netra.endpoint))
                for shown in (result.out, result.err):
                    assert set(acts(shown)) <= {"\n"}, (command, flags)
                    assert not any(line.startswith(FALSE) for line in shown.splitlines()), (command, flags, shown)
                if flags and command[:2] != ("state", "dead-letters"):
                    assert isinstance(json.loads(result.out), dict)
