"""One trace is proved from checksums: by bytes, by messages, and with damaged bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, TraceFlags

from netra_otel_bridge.core.errors import DestinationError
from netra_otel_bridge.deliver.otlp.encode import encode_span, varint
from netra_otel_bridge.readback.proof import Proof, Prover
from netra_otel_bridge.readback.wire import UnusualForm, parse_traces, span_groups
from tests.support.examples import examples
from tests.support.scripted_store import ScriptedReader, expected_trace, messages, request
from tests.support.span_strategies import spans
from tests.support.spans import context, make_span


def prove(data: bytes, members: list[ReadableSpan], *, carriers: bool = True) -> Proof:
    return Prover(ScriptedReader({})).prove(data, expected_trace(members, carriers=carriers))


def distinct(members: list[ReadableSpan]) -> list[ReadableSpan]:
    return list({span.context.span_id: span for span in members}.values())


@settings(max_examples=examples(200))
@given(st.lists(spans(), min_size=1, max_size=5).map(distinct), st.booleans())
def test_a_span_is_intact_however_a_server_writes_it(members: list[ReadableSpan], reserialized: bool) -> None:
    """The bytes that were sent prove every span, and so does the same message as any protobuf library writes it."""
    data = request(members)
    proof = prove(TracesData.FromString(data).SerializeToString() if reserialized else data, members)
    assert proof.intact == {span.context.span_id for span in members}
    assert (proof.unproved, proof.absent, proof.foreign, proof.duplicated) == ({}, [], set(), {})


@settings(max_examples=examples(300))
@given(st.lists(spans(), min_size=1, max_size=3).map(distinct), st.data())
def test_damaged_bytes_are_an_error_of_asking_or_prove_less(members: list[ReadableSpan], data: st.DataObject) -> None:
    """Flipped, lost and added bytes lead to a proof of no more than was sent, or to a `DestinationError`."""
    whole = bytearray(request(members))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole)))
        stop = data.draw(st.integers(at, min(at + 9, len(whole))))
        whole[at:stop] = data.draw(st.binary(max_size=9))
    try:
        proof = prove(bytes(whole), members)
    except DestinationError:
        return
    ids = {span.context.span_id for span in members}
    assert proof.intact | set(proof.unproved) | set(proof.absent) == ids
    assert len(proof.intact) + len(proof.unproved) + len(proof.absent) == len(ids)


@settings(max_examples=examples(200))
@given(st.lists(st.lists(spans(), max_size=3), max_size=3))
def test_the_walk_finds_what_the_parser_finds(parts: list[list[ReadableSpan]]) -> None:
    """Spans, carriers and their groups are those of the parsed message, also if several messages are joined."""
    data = b"".join(request(members) for members in parts)
    parsed = TracesData.FromString(data)
    groups = span_groups(data)
    found = [scope for resource_spans in parsed.resource_spans for scope in resource_spans.scope_spans]
    assert [len(group.spans) for group in groups] == [len(scope.spans) for scope in found]
    for group, scope in zip(groups, found, strict=True):
        assert [type(scope.spans[0]).FromString(one) for one in group.spans] == list(scope.spans)
        assert type(scope.scope).FromString(group.carrier.scope) == scope.scope
        assert group.carrier.scope_url.decode() == scope.schema_url


@pytest.mark.parametrize(
    "data",
    [
        *(b"\x0a", b"\x0a\x05\x0a", b"\x12\x00", b"\x0a\x80\x80", b"\x0a" + b"\xff" * 11, b"x"),
        *(b"\x0a\x04\x0a\x00\x0a\x00", b"\x0a\x04\x1a\x00\x1a\x00"),
        *(b"\x0a\x06\x12\x04\x0a\x00\x0a\x00", b"\x0a\x06\x12\x04\x1a\x00\x1a\x00"),
    ],
)
def test_bytes_that_no_server_writes_are_left_to_the_parser(data: bytes) -> None:
    """Cut, unknown, overlong and repeated fields raise `UnusualForm`, and no `IndexError`."""
    with pytest.raises(UnusualForm):
        span_groups(data)


def test_a_web_page_is_an_error_of_asking() -> None:
    """HTML in place of spans is a `DestinationError` that names the store, never a missing span."""
    with pytest.raises(DestinationError, match=r"jaeger\+grpc://127.0.0.1:16685 answered .* no OTLP protobuf"):
        prove(b"<!doctype html><html></html>", [make_span(1)])


def test_a_resource_that_comes_in_two_parts_is_one() -> None:
    """A form that the walk does not read is parsed, and proves as much."""
    members = [make_span(1)]
    parsed = messages(members)
    carrier = parsed.resource_spans[0]
    first, second = type(carrier)(), type(carrier)()
    first.resource.attributes.add().CopyFrom(carrier.resource.attributes[0])
    second.resource.attributes.add().CopyFrom(carrier.resource.attributes[1])
    second.scope_spans.add().CopyFrom(carrier.scope_spans[0])
    body = first.SerializeToString() + second.SerializeToString()
    assert prove(b"\x0a%b%b" % (bytes([len(body) & 0x7F | 0x80, len(body) >> 7]), body), members).intact == {1}


def test_fields_of_a_newer_protocol_do_not_count() -> None:
    """An unknown field beside the spans, in a span or in a part of it changes nothing."""
    members = [make_span(1)]
    assert prove(request(members) + b"\xc2\x3e\x03abc", members).intact == {1}
    span = encode_span(members[0]).replace(b"\x7a\x00", b"\x7a\x06\xc2\x3e\x03abc") + b"\xc2\x3e\x03abc"
    scope_spans = b"\x12" + varint(len(span)) + span
    resource_spans = b"\x12" + varint(len(scope_spans)) + scope_spans
    data = b"\x0a" + varint(len(resource_spans)) + resource_spans
    assert prove(data, members, carriers=False).intact == {1}


def test_a_text_cut_in_the_middle_of_a_character_is_read() -> None:
    """Bytes that are not UTF-8, as Tempo returns them, become U+FFFD: the span is there, and unproved."""
    members = [make_span(1, attributes={"input": "ab" + "é" * 3}), make_span(2)]
    cut = request(members).replace(b"\x0a\x08ab" + "é".encode() * 3, b"\x0a\x08abcdefg\xc3")
    proof = prove(cut, members)
    assert proof.intact == {2}
    assert proof.unproved[1][0].span.attributes[0].value.string_value == "abcdefg\ufffd"
    with pytest.raises(UnusualForm):
        parse_traces(b"\x0a\x02\x0a\x05")


def test_flags_do_not_count() -> None:
    """A store that drops or changes flags of spans returns intact spans."""
    members = [make_span(1, parent=2, remote_parent=True)]
    for flags in (0, 1, 0x101):
        parsed = messages(members)
        parsed.resource_spans[0].scope_spans[0].spans[0].flags = flags
        assert prove(parsed.SerializeToString(), members).intact == {1}


def test_what_our_encoder_writes_and_servers_leave_out_proves_the_span() -> None:
    """Empty names, times of zero and the flags of links are left out by servers."""
    link = Link(context(1, 2).__class__(1, 2, False, TraceFlags(0)), {"k": ""})
    members = [make_span(1, name="", start_ns=0, end_ns=0, links=[link], attributes={"": None, "n": 0})]
    proof = prove(messages(members).SerializeToString(), members)
    assert proof.intact == {1}


def test_the_carrier_is_a_part_of_the_proof() -> None:
    """A span under another resource is unproved; with a trace of an older version it is intact."""
    members = [make_span(1), make_span(2, resource=Resource({"service.name": "b"}))]
    moved = [make_span(1), make_span(2, resource=Resource({"service.name": "c"}))]
    assert prove(request(moved), members).intact == {1}
    assert set(prove(request(moved), members).unproved) == {2}
    assert prove(request(moved), members, carriers=False).intact == {1, 2}


def test_copies_and_strangers_are_counted_beside() -> None:
    """A second copy is one more, alike or not; a span that was not expected is foreign; neither hides an intact one."""
    members = [make_span(1), make_span(2), make_span(3)]
    other = [make_span(2, name="other"), make_span(9)]
    for form in (request(members + other + members[:1]), request(members + other + members[:1]) + b"\xc2\x3e\x00"):
        proof = prove(form, members)
        assert proof.intact == {1, 2, 3}
        assert (proof.duplicated, proof.unlike, proof.foreign) == ({1: 1, 2: 1}, {2}, {9})


def test_a_form_undoes_what_its_store_does() -> None:
    """A span that only restoring proves is intact, with no question to Netra."""

    class Form(type(ScriptedReader({}).form)):  # type: ignore[misc]  # the class of a plain form
        def restore(self, traces: TracesData) -> None:
            for span in traces.resource_spans[0].scope_spans[0].spans:
                del span.attributes[-1]

    members = [make_span(1, attributes={"a": 1})]
    data = messages([make_span(1, attributes={"a": 1, "added": 2})]).SerializeToString()
    prover = Prover(ScriptedReader({}, form=Form()))
    assert prover.prove(data, expected_trace(members)).intact == {1}
