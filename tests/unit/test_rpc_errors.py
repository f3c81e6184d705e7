"""The status of failed calls, and its documentation in the proto file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from netra_otel_bridge.core import errors
from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.service.rpc import errors as rpc_errors
from netra_otel_bridge.service.rpc.errors import Code, StatusError, status_error

ROOT = Path(__file__).parents[2]
PROTO = (ROOT / "proto" / "netra_otel_bridge" / "v1" / "bridge.proto").read_text("utf-8")
ENTRY = re.compile(r"//   ([A-Z_]{5,}) +([A-Z][A-Z_]*(?:, [A-Z][A-Z_]*)*)")
DESTINATIONS = set(re.findall(r"\bDESTINATION_[A-Z]+\b", PROTO.partition("message Problem {")[2].partition("}")[0]))


def documented(text: str) -> set[tuple[str, str]]:
    """Return code and reason of each entry of a table in a comment."""
    return {(code, reason) for code, reasons in ENTRY.findall(text) for reason in reasons.split(", ")}


HEADER = documented(PROTO.partition("syntax =")[0])
CALLS = {name: documented(text) for text, name in re.findall(r"((?:^  //.*\n)+)  rpc (\w+)\(", PROTO, re.MULTILINE)}
EVERYWHERE = HEADER.union(*CALLS.values())


def kinds(of: type[BridgeError] = BridgeError) -> Iterator[type[BridgeError]]:
    yield of
    for kind in of.__subclasses__():
        yield from kinds(kind)


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind.__module__ == errors.__name__])
def test_every_error_of_the_bridge_is_a_documented_code_and_reason(kind: type[BridgeError]) -> None:
    """The status carries the message and the hint of the error, and a delay where a retry helps."""
    given = status_error(kind("what failed", hint="what to do"), "TRACE_NOT_FOUND")
    assert (given.code.name, given.reason) in EVERYWHERE or given.reason in DESTINATIONS
    assert (given.message, given.hint) == ("what failed", "what to do")
    assert (given.retry_s is not None) == (given.code is Code.UNAVAILABLE)
    if (
        kind is not BridgeError
        and kind is not errors.Stopped
        and kind not in (errors.NetraError, errors.DestinationError)
    ):
        assert given.reason != "DEFECT"


def test_more_special_errors_are_not_hidden_by_their_kind() -> None:
    """The first matching entry is used, so no subclass may come after its base class."""
    order = [kind for kind, *_ in rpc_errors._CODES]
    assert not [(one, two) for place, one in enumerate(order) for two in order[place + 1 :] if issubclass(two, one)]


def test_the_interface_names_every_reason_that_the_code_can_give_and_no_other() -> None:
    """Strings in the code that look like a reason are the documented reasons; `NOT_FOUND` always gets a more exact one."""
    reason = re.compile(r"[A-Z]{5,}|[A-Z]{3,}_[A-Z_]+")
    given = {
        node.value
        for path in (ROOT / "netra_otel_bridge" / "service" / "rpc").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and reason.fullmatch(node.value)
    }
    assert given - {"NOT_FOUND"} == {reason for _, reason in EVERYWHERE} | DESTINATIONS


def test_the_tables_of_the_interface_are_sound() -> None:
    """All codes exist in gRPC, and no method repeats an entry that holds for every method."""
    assert len(HEADER) > 10
    assert set(CALLS) == set(re.findall(r"rpc (\w+)\(", PROTO))
    assert {code for code, _ in EVERYWHERE} <= {code.name for code in Code}
    assert [name for name, entries in CALLS.items() if entries & HEADER] == []


@pytest.mark.parametrize(("seconds", "parts"), [(2.0, (2, 0)), (0.25, (0, 250_000_000)), (30.5, (30, 500_000_000))])
def test_the_delay_is_exact(seconds: float, parts: tuple[int, int]) -> None:
    """RetryInfo has the delay in seconds and nanoseconds."""
    status = StatusError(Code.UNAVAILABLE, "X", "text", retry_s=seconds)._status()
    retry = rpc_errors.RetryInfo()
    assert status.details[1].Unpack(retry)
    assert (retry.retry_delay.seconds, retry.retry_delay.nanos) == parts
