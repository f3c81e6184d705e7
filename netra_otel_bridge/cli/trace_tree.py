"""Draw one trace as a tree beside its timeline, in whatever width there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from netra_otel_bridge.cli.call_words import SEPARATOR, kind_of, name_of, packed, plural, short, words
from netra_otel_bridge.cli.numbers import cost, count, duration
from netra_otel_bridge.cli.output import cell
from netra_otel_bridge.cli.wrapping import rendered
from netra_otel_bridge.convert import SpanReading, TraceReading, instant_ns, is_metered
from netra_otel_bridge.core.model.netra import TraceSpan

BAR_WIDTHS = (24, 12, 6)
_GAP = "  "
_MIN_NAME = 16
_MIN_BESIDE = 46
"""Width from which details stand beside their span. In less, they stand below it."""
_GOOD_BELOW = 50
"""Width of details below their span that is worth a shorter timeline."""
_MIN_BELOW = 24
_MIN_WORD = 8


@dataclass(frozen=True, slots=True)
class _Row:
    """One span: its guide lines, those of the lines that follow its first, and its texts."""

    reading: SpanReading
    guide: str
    below: str
    duration: str
    details: list[Text]


class TraceTree:
    """A trace as rich draws it.

    A span whose parent is not in the trace is drawn at the root, with a note. A cycle of parents is drawn there too.
    """

    def __init__(self, trace_id: str, trace: TraceReading) -> None:
        self._spans = trace.spans
        times = [_times(one.span) for one in trace.spans]
        self._begin = min((start for start, _ in times if start is not None), default=0)
        self._end = max((end for _, end in times if end is not None), default=self._begin)
        self._title = title(trace_id, trace.spans, self._end - self._begin)
        self._withheld = withheld(trace.withheld)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        layout = _Layout(list(self._rows()), options.max_width, (self._begin, max(self._end - self._begin, 1)))
        yield from rendered(in_width(self._title, console, options.max_width), console)
        yield from rendered(layout.lines(console), console)
        yield from rendered(self._withheld, console)

    def _rows(self) -> Iterator[_Row]:
        numbers = {one.number for one in self._spans}
        for reading, guide, below in in_tree(self._spans):
            start, end = _times(reading.span)
            timed = start is not None and end is not None and end >= start
            details = words(reading)
            if reading.parent is not None and reading.parent not in numbers:
                details.append(cell(f"parent {short(str(reading.span.parent_span_id))} is not in the trace", "yellow"))
            yield _Row(reading, guide, below, duration((end or 0) - (start or 0)) if timed else "", details)


def title(trace_id: str, spans: Sequence[SpanReading], duration_ns: int) -> Text:
    """Return the first line of a drawn trace: its id, and the sums of its spans."""
    metered = [one.span for one in spans if is_metered(one.span)]
    tokens = [span.total_tokens for span in metered if span.total_tokens is not None]
    costs = [span.total_cost for span in metered if span.total_cost is not None]
    failed = sum(one.error is not None for one in spans)
    line = Text.assemble(("trace ", "bold"), cell(trace_id, "bold cyan"))
    line.append(f"  {plural(len(spans), 'span')}  {duration(duration_ns)}")
    line.append(f"  {count(sum(tokens))} tokens" if tokens else "")
    line.append(f"  {cost(sum(costs))}" if costs else "")
    line.append(f"  {plural(failed, 'error')}" if failed else "", style="red")
    return line


def withheld(taken: Counter[str]) -> list[Text]:
    """Return a line that says what the privacy policy took, if it took anything."""
    dropped, redacted = taken["content_dropped"], taken["content_redacted"]
    said = [
        f"left out {plural(dropped, 'attribute')} with content" if dropped else "",
        f"replaced {plural(redacted, 'text')}" if redacted else "",
    ]
    if not any(said):
        return []
    return [cell(f"The privacy policy of the settings {' and '.join(filter(None, said))}.", "yellow")]


def in_tree(spans: Sequence[SpanReading]) -> Iterator[tuple[SpanReading, str, str]]:
    """Yield each span once, parents before children, with its guide lines, and those of further lines of it."""
    ordered = sorted(spans, key=lambda one: instant_ns(one.span.start_time_ms) or 0)
    numbers = {one.number for one in ordered}
    children: dict[int, list[SpanReading]] = {}
    roots: list[SpanReading] = []
    for one in ordered:
        if one.parent is None or one.parent not in numbers or one.parent == one.number:
            roots.append(one)
        else:
            children.setdefault(one.parent, []).append(one)
    drawn: set[str] = set()
    waiting = [(one, "", "") for one in reversed((*roots, *ordered))]
    while waiting:
        one, guide, below = waiting.pop()
        if one.span.id in drawn:
            continue
        drawn.add(one.span.id)
        offspring = [child for child in children.get(one.number, []) if child.span.id not in drawn]
        yield one, guide, below + ("│  " if offspring else "   ")
        for child in reversed(offspring):
            last = child is offspring[-1]
            waiting.append((child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))


class _Layout:
    """The widths of the columns, chosen once for all rows."""

    def __init__(self, rows: Sequence[_Row], width: int, scale: tuple[int, int]) -> None:
        self._rows = rows
        self._width = width
        self._scale = scale
        self._durations = _widest(row.duration for row in rows)
        self._kinds = _widest(str(cell(kind_of(row.reading))) for row in rows)
        self._tokens = _widest(count(row.reading.span.total_tokens) for row in rows)
        self._costs = _widest(cost(row.reading.span.total_cost) for row in rows)
        names = max((len(row.guide) + name_of(row.reading).cell_len for row in rows), default=0)
        details = max((Text(SEPARATOR).join(row.details).cell_len for row in rows), default=0)
        wanted = min(details, _MIN_BESIDE)
        fixed = sum(len(_GAP) + one for one in (self._durations, self._kinds, self._tokens, self._costs) if one)
        room = {bar: width - bar - fixed - len(_GAP) for bar in BAR_WIDTHS}
        self.bar = next((bar for bar in BAR_WIDTHS if room[bar] >= names + len(_GAP) + wanted), 0)
        self.beside = bool(self.bar)
        if not self.beside:
            below = {bar: width - bar - self._durations - 2 * len(_GAP) for bar in BAR_WIDTHS}
            fitting = (bar for bar in BAR_WIDTHS if room[bar] >= names and below[bar] >= min(details, _GOOD_BELOW))
            self.bar = next(fitting, BAR_WIDTHS[-1])
        self._names = min(names, max(room[self.bar], _MIN_NAME))
        self._longest_guide = self._names // 2 if self._names < names else width
        self._details = width - self.bar - fixed - len(_GAP) * 2 - self._names if self.beside else 0

    def lines(self, console: Console) -> Iterator[Text]:
        for row in self._rows:
            yield from self._lines(row, console)

    def _lines(self, row: _Row, console: Console) -> Iterator[Text]:
        span = row.reading.span
        start, end = _times(span)
        timed = start is not None and end is not None and end >= start
        guides = self._short(row.guide), self._short(row.below)
        names = in_width(name_of(row.reading), console, self._names - len(guides[0]))
        details = packed(row.details, console, self._details) if self.beside else []
        for number in range(max(len(names), len(details), 1)):
            first = number == 0
            name = Text(guides[0 if first else 1], "dim")
            name.append_text(names[number] if number < len(names) else Text())
            columns = [
                (Text(_bar(start or 0, end or 0, self._scale, self.bar) if timed and first else "", "cyan"), self.bar, False),
                (Text(row.duration if first else "", "dim"), self._durations, True),
                (name, self._names, False),
                (cell(kind_of(row.reading) if first else "", "dim"), self._kinds, False),
                (Text(count(span.total_tokens) if first else ""), self._tokens, True),
                (Text(cost(span.total_cost) if first else "", "green"), self._costs, True),
                (details[number] if number < len(details) else Text(), self._details, False),
            ]  # fmt: skip
            yield _line(columns)
        if not self.beside:
            left = self.bar + len(_GAP) + (self._durations + len(_GAP) if self._durations else 0)
            before = " " * left + guides[1]
            for detail in packed(row.details, console, max(self._width - len(before), _MIN_BELOW)):
                yield Text.assemble((before, "dim"), detail)

    def _short(self, guide: str) -> str:
        """Return guide lines that leave room for a name: of a deep span, the innermost ones."""
        most = self._longest_guide
        return guide if len(guide) <= most else f"…{guide[len(guide) - most + 1 :]}"


def _line(columns: Sequence[tuple[Text, int, bool]]) -> Text:
    line = Text()
    for text, width, to_the_right in columns:
        if width:
            padding = " " * max(width - text.cell_len, 0)
            line.append(_GAP if line else "")
            line.append_text(Text.assemble(padding, text) if to_the_right else Text.assemble(text, padding))
    line.rstrip()
    return line


def in_width(text: Text, console: Console, width: int) -> list[Text]:
    """Return a short text of ours in lines that fit."""
    lines = list(text.wrap(console, max(width, _MIN_WORD), overflow="fold"))
    for line in lines:
        line.rstrip()
    return lines


def _widest(texts: Iterator[str]) -> int:
    return max((cell(text).cell_len for text in texts), default=0)


def _times(span: TraceSpan) -> tuple[int | None, int | None]:
    return instant_ns(span.start_time_ms), instant_ns(span.end_time_ms)


def _bar(start: int, end: int, scale: tuple[int, int], bar: int) -> str:
    begin, length = scale
    left = min((start - begin) * bar // length, bar - 1)
    width = max(1, min(-(-(end - start) * bar // length), bar - left))
    return "·" * left + "━" * width + "·" * (bar - left - width)
