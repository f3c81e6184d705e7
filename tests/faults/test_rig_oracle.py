"""The oracle finds each kind of fault that it looks for."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from netra_otel_bridge import Bridge
from netra_otel_bridge.deliver.otlp.json import encode_line
from netra_otel_bridge.emulator import Emulator, EmulatorOptions
from netra_otel_bridge.emulator.otlp import read_document
from tests.support.compare import Key, Normal
from tests.support.oracle import Oracle, Sent, happened, stored_by, written_to
from tests.support.otlp_message import request_of
from tests.support.spans import make_span


@pytest.fixture
def oracle() -> Oracle:
    oracle = Oracle()
    oracle.traces(3, spans=4)
    return oracle


def faithful(oracle: Oracle) -> list[tuple[Key, Normal]]:
    """Return every version of every span, as a destination without a fault would have it."""
    return [(key, issue.normal) for key, issues in oracle.issued.items() for issue in issues]


def sent(*spans: tuple[Key, Normal]) -> Sent:
    return Sent((spans,))


def test_what_arrived_as_it_was_issued_is_kept(oracle: Oracle) -> None:
    """All spans once, and both versions of a changed span, pass."""
    oracle.change([oracle.span_ids(oracle.trace_ids[0])[2]])
    verdict = oracle.assert_kept(sent(*faithful(oracle)))
    assert str(verdict) == "nothing is wrong"


def test_a_missing_span_is_named(oracle: Oracle) -> None:
    """A missing span is named, even if all the others are there, or none."""
    spans = faithful(oracle)
    key, _ = spans.pop(5)
    assert oracle.verdict(sent(*spans)).missing == [key]
    assert len(oracle.verdict(Sent(())).missing) == len(oracle) == 12
    with pytest.raises(AssertionError, match=f"missing: 1\n  .*{key[1]}"):
        oracle.assert_kept(sent(*spans))


def test_a_span_that_nobody_issued_is_found(oracle: Oracle) -> None:
    """A span of another oracle, and a span of this oracle in another trace, are both found."""
    (key, normal), *_ = faithful(oracle)
    stranger = ("ab" * 16, key[1])
    assert oracle.verdict(sent(*faithful(oracle), (stranger, normal))).invented == [stranger]


ALTERATIONS: dict[str, Callable[[Normal], object]] = {
    "name": lambda span: span.update(name=span["name"] + " "),
    "time": lambda span: span.update(end_ns=span["end_ns"] + 1),
    "parent": lambda span: span.update(parent_id="ab" * 8),
    "status": lambda span: span.update(status=("ERROR", "")),
    "attribute": lambda span: span["attributes"].update({"oracle.int": ("int", 7)}),
    "type of an attribute": lambda span: span["attributes"].update({"oracle.bool": ("string", "true")}),
    "attribute lost": lambda span: span["attributes"].pop("oracle.list"),
    "attribute added": lambda span: span["attributes"].update({"added": ("int", 1)}),
    "resource": lambda span: span["resource"].clear(),
    "scope": lambda span: span.update(scope=("other", "", {})),
    "event": lambda span: span["events"].append((1, "made up", {}, 0)),
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_altered_content_is_found(oracle: Oracle, alteration: str) -> None:
    """A single altered field of a single span is found."""
    spans = copy.deepcopy(faithful(oracle))
    key, normal = spans[4]
    ALTERATIONS[alteration](normal)
    verdict = oracle.verdict(sent(*spans))
    assert [line.partition(":")[0] for line in verdict.altered] == [str(key)]


def test_the_old_version_is_not_the_new_one(oracle: Oracle) -> None:
    """A change that never arrived is found, and so is an older version that came after it; a change after the run is not due."""
    key = oracle.span_ids(oracle.trace_ids[1])[1]
    before, step = faithful(oracle), oracle.step
    oracle.change([key])
    old, new = (issue.normal for issue in oracle.issued[key])
    assert "version 1, due is 2" in oracle.verdict(sent(*before)).altered[0]
    assert oracle.verdict(sent(*before, (key, new), (key, old))).altered
    assert not oracle.verdict(sent(*before), until_step=step).altered


def test_repeats_are_counted_by_version(oracle: Oracle) -> None:
    """Receiving one version twice is one repeat, two versions are none, and more repeats than allowed fail."""
    spans = faithful(oracle)
    oracle.change([spans[0][0]])
    again = [*faithful(oracle), spans[3], spans[3]]
    verdict = oracle.assert_kept(sent(*again), repeats=2)
    assert verdict.repeated == {spans[3][0]: 2}
    with pytest.raises(AssertionError, match="more than 1 repeats"):
        oracle.assert_kept(sent(*again), repeats=1)


def test_a_dead_letter_is_not_missing_and_is_read_as_closely(oracle: Oracle) -> None:
    """A dead letter counts as arrived only if its content is that of the span."""
    spans = faithful(oracle)
    (key, _) = spans.pop(2)
    letter = json.dumps(oracle.document([key]))
    assert oracle.assert_kept(sent(*spans), dead=[letter]).dead == {key}
    altered = letter.replace("oracle.text", "oracle.tekst")
    assert oracle.verdict(sent(*spans), dead=[altered]).altered
    assert oracle.verdict(sent(*spans), dead=[encode_line([make_span(1)]).decode()]).invented


def test_a_fault_that_did_not_happen_fails() -> None:
    """`happened` fails for every empty value."""
    happened("a retry", 1)
    for nothing in (0, [], "", None, False):
        with pytest.raises(AssertionError, match="the fault did not happen: a retry"):
            happened("a retry", nothing)


def test_a_span_lies_in_its_trace_and_its_content_in_its_ids() -> None:
    """Two oracles of one name issue the same spans, two of different names have none in common; late spans start later."""
    one, two, other = Oracle("a"), Oracle("a"), Oracle("b")
    for oracle in (one, two, other):
        oracle.traces(2, spans=3)
        oracle.late(oracle.trace_ids[0], spans=2)
    assert one.document(one.issued) == two.document(two.issued)
    assert not one.issued.keys() & other.issued.keys()
    keys = one.span_ids(one.trace_ids[0])
    starts = [one.issued[key][0].normal["start_ns"] for key in keys]
    assert len(keys) == 5
    assert starts == sorted(starts)


async def test_through_the_emulator_and_the_bridge_nothing_is_wrong(tmp_path: Path) -> None:
    """The oracle expects exactly what profile raw delivers; a later version replaces the one before."""
    oracle = Oracle()
    oracle.traces(4, spans=3, padding=300)
    async with Emulator(EmulatorOptions(port=0)) as netra:
        oracle.feed(netra.store, oracle.issued)
        bridge = Bridge(environ={}, api_key="k", endpoint=netra.endpoint, window="30000d", profile="raw")
        to = f"otlp-file:{tmp_path}/one.jsonl"
        await bridge.areplay(to, from_="1970-01-01", until="2262-01-01")
        first = oracle.step
        late = oracle.late(oracle.trace_ids[0])
        oracle.feed(netra.store, oracle.change(oracle.span_ids(oracle.trace_ids[1])))
        oracle.feed(netra.store, late)
        await bridge.areplay(to.replace("one", "two"), from_="1970-01-01", until="2262-01-01")
    before, after = written_to(tmp_path / "one.jsonl"), written_to(tmp_path / "two.jsonl")
    due = [key for key in oracle.issued if key not in late]
    oracle.assert_kept(before, due=due, until_step=first)
    oracle.assert_kept(after)
    assert oracle.verdict(before).missing == late


def test_requests_in_protobuf_are_read_as_files_are(oracle: Oracle, tmp_path: Path) -> None:
    """Requests in protobuf are read like files, although ids, numbers and bytes are spelled differently."""
    oracle.write(tmp_path / "all.jsonl", oracle.issued)
    requests = [read_document(json.loads(line)) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    oracle.assert_kept(stored_by(requests))
    oracle.assert_kept(written_to(tmp_path / "all.jsonl"))


def test_a_torn_last_line_is_not_received(oracle: Oracle, tmp_path: Path) -> None:
    """A last line torn by a crash does not count as received, as for any reader of the file."""
    path = tmp_path / "torn.jsonl"
    oracle.write(path, oracle.issued)
    with path.open("a") as file:
        file.write('{"resourceSpans": [')
    oracle.assert_kept(written_to(path))
    path.write_text("{")
    assert len(written_to(path)) == 0


def test_what_is_fed_is_what_the_document_says() -> None:
    """The quick way to a message gives the same result as the parser of OTLP JSON, padding and parents included."""
    oracle = Oracle()
    keys = oracle.traces(5, 4, padding=100)
    keys += oracle.change(keys[:3])
    document = oracle.document(keys)
    assert request_of(document["resourceSpans"]) == read_document(document)
