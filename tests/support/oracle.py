"""The oracle issues every span, and says afterwards which are missing, invented, altered or repeated.

The content of a span is a function of its ids and its version, so any altered content is found. A ``Sent`` is what a
destination received, request by request. `Oracle.verdict` compares the two by set algebra:

- **missing** (P1): the newest version that was due is neither received nor in the dead letters;
- **invented** (P3): nobody issued a span with these ids;
- **altered** (P3): the ids were issued, but no version of the span has this content, or the last version
  received is not the last one issued;
- **repeated** (P2): one version of a span was received more than once.

It expects what profile ``raw`` delivers: what was recorded, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.compare import Key, Normal, listed_spans, spans_by_id
from tests.support.emulator import START_NS, otlp_attributes
from tests.support.otlp_message import request_of

MS = 1_000_000
_SCOPE = {"name": "netra.instrumentation.oracle", "version": "1"}
_SHOWN = 20


class Feeds(Protocol):
    """A place to put spans: an emulator in a thread, or its store."""

    def ingest(self, request: ExportTraceServiceRequest | bytes, /) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Issue:
    """One version of a span: its OTLP JSON, and the step at which it was issued."""

    version: int
    step: int
    document: dict[str, Any]
    normal: Normal


@dataclass(frozen=True, slots=True)
class Sent:
    """The spans that a destination received: those of each request, in order."""

    requests: tuple[tuple[tuple[Key, Normal], ...], ...]

    def __iter__(self) -> Iterator[tuple[Key, Normal]]:
        return (span for request in self.requests for span in request)

    def __len__(self) -> int:
        return sum(map(len, self.requests))

    @property
    def keys(self) -> set[Key]:
        return {key for key, _ in self}

    @property
    def sizes(self) -> list[int]:
        """Return how many spans each request held."""
        return [len(request) for request in self.requests]


@dataclass(slots=True)
class Verdict:
    """The faults found, by kind; `str` prints each span. All are empty if P1, P2 and P3 hold to the letter."""

    missing: list[Key] = field(default_factory=list)
    invented: list[Key] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    repeated: Counter[Key] = field(default_factory=Counter)
    dead: set[Key] = field(default_factory=set)

    @property
    def sound(self) -> bool:
        """Return whether nothing is invented, altered or repeated. Spans may still be missing."""
        return not (self.invented or self.altered or self.repeated)

    def __str__(self) -> str:
        lines = []
        for name in ("missing", "invented", "altered", "repeated"):
            found = getattr(self, name)
            if found:
                items = [f"{key}: {n} more" for key, n in found.items()] if name == "repeated" else found
                lines.append(f"{name}: {len(found)}")
                lines += [f"  {item}" for item in list(items)[:_SHOWN]]
        return "\n".join(lines) or "nothing is wrong"


class Oracle:
    """An issuer of spans. ``issued`` holds all versions of each; ``step`` grows with every call that issues something."""

    def __init__(self, name: str = "oracle", start_ns: int = START_NS) -> None:
        self.issued: dict[Key, list[Issue]] = {}
        self.step = 0
        self._name = name
        self._start_ns = start_ns
        self._traces: dict[str, list[Key]] = {}
        self._times: dict[Key, int] = {}
        self._padding: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self.issued)

    @property
    def trace_ids(self) -> list[str]:
        return list(self._traces)

    def span_ids(self, trace_id: str) -> list[Key]:
        """Return the span ids of a trace, the root first."""
        return list(self._traces[trace_id])

    def start_ns(self, key: Key) -> int:
        """Return when a span starts."""
        return self._times[key]

    def traces(
        self, count: int, spans: int = 5, *, start_ns: int | None = None, every_ns: int = 1000 * MS, padding: int = 0
    ) -> list[Key]:
        """Issue ``count`` new traces, one every ``every_ns``; each span carries ``padding`` extra bytes."""
        self.step += 1
        first_ns = self._start_ns if start_ns is None else start_ns
        issued = []
        for number in range(count):
            trace_id = _digest(f"{self._name} trace {len(self._traces)}")[:32]
            self._traces[trace_id] = []
            begin_ns = first_ns + number * every_ns
            issued += [self._new(trace_id, begin_ns + place * 7 * MS + place, padding) for place in range(spans)]
        return issued

    def late(self, trace_id: str, spans: int = 1, *, after_ns: int = 100 * MS, padding: int = 0) -> list[Key]:
        """Issue more spans of a trace, which start after the ones it has."""
        self.step += 1
        last_ns = max(self._times[key] for key in self._traces[trace_id])
        return [self._new(trace_id, last_ns + after_ns + place * MS, padding) for place in range(spans)]

    def change(self, keys: Iterable[Key]) -> list[Key]:
        """Issue another version of each of these spans, which also changes the summary of its trace."""
        self.step += 1
        changed = list(keys)
        for key in changed:
            self._issue(key)
        return changed

    def document(self, keys: Iterable[Key]) -> dict[str, Any]:
        """Return the newest version of these spans as one OTLP JSON document."""
        return {"resourceSpans": [self.issued[key][-1].document for key in keys]}

    def feed(self, into: Feeds, keys: Iterable[Key]) -> None:
        """Put the newest version of these spans into an emulator."""
        refused = into.ingest(request_of(self.issued[key][-1].document for key in keys))
        assert refused == [], refused

    def write(self, path: Path, keys: Iterable[Key]) -> None:
        """Write the newest version of these spans as a file that ``emulator --load`` reads."""
        path.write_text(json.dumps(self.document(keys)) + "\n")

    def verdict(
        self,
        sent: Sent,
        *,
        dead: Iterable[str] = (),
        due: Collection[Key] | None = None,
        until_step: int | None = None,
    ) -> Verdict:
        """Compare. ``dead`` are dead letters (OTLP JSON documents), ``due`` the spans that must have arrived (default:
        all).

        If a span has several versions, the newest one issued up to ``until_step`` (default: now) is due, and the last
        one received must not be older.
        """
        verdict = Verdict()
        last: dict[Key, int] = {}
        times: Counter[tuple[Key, int]] = Counter()
        for key, normal in sent:
            version = self._judge(verdict, key, normal)
            if version is not None:
                last[key] = version
                times[key, version] += 1
        for document in dead:
            for key, normal in spans_by_id(json.loads(document)).items():
                version = self._judge(verdict, key, normal)
                verdict.dead.add(key)
                if version is not None:
                    last[key] = max(version, last.get(key, version))
        for key in self.issued if due is None else due:
            wanted = self._newest(key, until_step)
            if key not in last:
                verdict.missing.append(key)
            elif last[key] < wanted:
                verdict.altered.append(f"{key}: ends with version {last[key]}, due is {wanted}")
        for (key, _), count in times.items():
            if count > 1:
                verdict.repeated[key] += count - 1
        return verdict

    def assert_kept(
        self,
        sent: Sent,
        *,
        repeats: int = 0,
        dead: Iterable[str] = (),
        due: Collection[Key] | None = None,
        until_step: int | None = None,
    ) -> Verdict:
        """Assert P1, P2 with at most ``repeats`` repeats, and P3; print what is wrong."""
        verdict = self.verdict(sent, dead=dead, due=due, until_step=until_step)
        assert not verdict.missing, f"\n{verdict}"
        assert not verdict.invented, f"\n{verdict}"
        assert not verdict.altered, f"\n{verdict}"
        assert verdict.repeated.total() <= repeats, f"more than {repeats} repeats\n{verdict}"
        return verdict

    def _judge(self, verdict: Verdict, key: Key, normal: Normal) -> int | None:
        """Return the version that has this content. If there is none, note what is wrong and return ``None``."""
        issues = self.issued.get(key)
        if issues is None:
            verdict.invented.append(key)
            return None
        content = normal | {"flags": 0}
        for issue in reversed(issues):
            if issue.normal == content:
                return issue.version
        fields = [name for name, value in issues[-1].normal.items() if content.get(name) != value]
        verdict.altered.append(f"{key}: {', '.join(fields)}")
        return None

    def _newest(self, key: Key, until_step: int | None) -> int:
        versions = [issue.version for issue in self.issued[key] if until_step is None or issue.step <= until_step]
        return max(versions, default=1)

    def _new(self, trace_id: str, start_ns: int, padding: int) -> Key:
        spans = self._traces[trace_id]
        key = (trace_id, _digest(f"{trace_id} span {len(spans)}")[:16])
        spans.append(key)
        self._times[key] = start_ns
        self._padding[key] = padding
        self._issue(key)
        return key

    def _issue(self, key: Key) -> None:
        versions = self.issued.setdefault(key, [])
        root = self._traces[key[0]][0]
        parent = "" if key == root else root[1]
        version = len(versions) + 1
        document = _resource_spans(_span(key, version, parent, self._times[key], self._padding[key]))
        normal = spans_by_id({"resourceSpans": [document]})[key]
        versions.append(Issue(version, self.step, document, normal))


def stored_by(requests: Iterable[ExportTraceServiceRequest]) -> Sent:
    """Return what a fake destination stored (``fake.stored``)."""
    return Sent(tuple(tuple(listed_spans(MessageToDict(request))) for request in requests))


def written_to(path: Path) -> Sent:
    """Return what an ``otlp-file`` holds. As in the Collector's receiver, an incomplete last line does not count."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return Sent(tuple(tuple(listed_spans(json.loads(line))) for line in lines))


def happened(what: str, seen: object) -> None:
    """Assert that the fault of a test happened: a test that passes without its fault proves nothing."""
    assert seen, f"the fault did not happen: {what} was expected, seen: {seen!r}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def _resource_spans(span: dict[str, Any]) -> dict[str, Any]:
    service = {"service.name": f"oracle-{span['traceId'][0]}", "deployment.environment": "rig"}
    return {
        "resource": {"attributes": otlp_attributes(service)},
        "scopeSpans": [{"scope": _SCOPE, "spans": [span]}],
    }


def _span(key: Key, version: int, parent: str, start_ns: int, padding: int) -> dict[str, Any]:
    """Return the content of one version of a span: a function of its ids and version, and of its start and size."""
    trace_id, span_id = key
    digest = _digest(f"{trace_id} {span_id} {version}")
    number = int(digest[:15], 16)
    text = digest * (1 + number % 4)
    attributes = {
        "netra.instrumentation.name": "oracle",
        "library.version": "1",
        "netra.span.type": "GENERATION",
        "netra.tenant_id": f"tenant-{trace_id[0]}",
        "netra.session_id": f"session-{trace_id[:2]}",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.prompt_tokens": 1 + number % 997 + 1000 * version,
        "gen_ai.usage.completion_tokens": 1 + number % 89,
        "oracle.text": f'{text} äöü €\n\t"quoted" \\ {span_id}',
        "oracle.int": number,
        "oracle.double": number / 7.0,
        "oracle.bool": number % 2 == 0,
        "oracle.list": [digest[place : place + 4] for place in range(0, 4 * (number % 5), 4)] or [""],
        "oracle.version": version,
    }
    if padding:
        attributes["oracle.padding"] = (digest * (1 + padding // len(digest)))[:padding]
    failed = number % 11 == 0
    event = {
        "name": f"event {digest[:6]}",
        "timeUnixNano": str(start_ns + number % 1000),
        "attributes": otlp_attributes({"oracle.event": digest[8:40]}),
    }
    return {
        "traceId": trace_id,
        "spanId": span_id,
        "parentSpanId": parent,
        "name": f"call {digest[:8]}",
        "kind": 3,
        "startTimeUnixNano": str(start_ns),
        "endTimeUnixNano": str(start_ns + 5 * MS + number % MS),
        "attributes": otlp_attributes(attributes),
        "events": [event] * (number % 3),
        "status": {"code": 2, "message": f"failed {digest[:4]}"} if failed else {"code": 1},
    }
