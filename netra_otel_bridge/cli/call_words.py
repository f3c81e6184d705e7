"""Say in a few words what a span was: its model, tools, documents, tokens, reason to stop, and error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from netra_otel_bridge.cli.numbers import count
from netra_otel_bridge.cli.output import cell
from netra_otel_bridge.cli.redactor import redactor
from netra_otel_bridge.convert import SpanReading
from netra_otel_bridge.convert.llm import Call, Kind

_NAME_CHARS = 80
_SPAN_NAME_CHARS = 200
_KIND_CHARS = 20
_MAX_NAMES = 6
_ERROR_CHARS = 200
_USUAL_ENDS = frozenset({"stop", "end_turn", "tool_calls", "tool_call", "tool_use", "tool-calls", "completed"})
SEPARATOR = " · "


def kind_of(reading: SpanReading) -> str:
    """Return what a span is by its evidence; the kind that Netra has where it is nothing known."""
    kind = reading.call.kind
    return short(str(reading.span.kind or ""), _KIND_CHARS) if kind is Kind.OTHER else kind.value


def name_of(reading: SpanReading) -> Text:
    """Return the name of a span, red if it failed; a very long one is cut."""
    return cell(short(reading.name, _SPAN_NAME_CHARS) or "(no name)", "bold" if reading.error is None else "bold red")


def model_of(call: Call) -> str | None:
    """Return the model that answered, else the one that was asked."""
    found = call.facts.get("response_model") or call.facts.get("request_model")
    return found if isinstance(found, str) else None


def packed(pieces: Iterable[Text], console: Console, width: int) -> list[Text]:
    """Return the pieces on as few lines as hold them. A line breaks inside of a piece only if it is longer than one."""
    lines: list[Text] = []
    for piece in pieces:
        last = lines[-1] if lines else None
        if last is not None and last.cell_len + len(SEPARATOR) + piece.cell_len <= width:
            lines[-1] = Text.assemble(last, SEPARATOR, piece)
        else:
            lines += piece.wrap(console, width, overflow="fold")
    return lines


def words(reading: SpanReading) -> list[Text]:
    """Return what is known of a span in short pieces, without its name, times and cost."""
    call = reading.call
    pieces = [*_model(call), *_called(reading), *_counted(call), *_answered(call), *_findings(reading)]
    if reading.error is not None:
        said = redactor.line(reading.error, _ERROR_CHARS)
        pieces.append(cell(f"error: {said}" if said else "error", "red"))
    return pieces


def words_of_answer(reading: SpanReading) -> list[Text]:
    """Return what is known of a span beside its messages, tools, documents and error."""
    return [*_model(reading.call), *_answered(reading.call), *_findings(reading)]


def _answered(call: Call) -> list[Text]:
    return [*tokens(call), *_choices(call), *finish(call.facts.get("finish_reasons") or ())]


def _findings(reading: SpanReading) -> list[Text]:
    found = (("personal data", reading.span.has_pii), ("violation", reading.span.has_violation))
    return [cell(word, "yellow") for word, is_found in found if is_found]


def tokens(call: Call) -> list[Text]:
    """Return tokens in and out, with the parts that are known: read from a cache, written to it, spent on reasoning."""
    facts = call.facts
    sides = (
        ("in", "input_tokens", (("cached", "cache_read_tokens"), ("written to cache", "cache_write_tokens"))),
        ("out", "output_tokens", (("reasoning", "reasoning_tokens"),)),
    )
    told = []
    for side, total, parts in sides:
        audio = ("audio", f"audio_{'input' if side == 'in' else 'output'}_tokens")
        of_it = [f"{count(facts[fact])} {word}" for word, fact in (*parts, audio) if facts.get(fact)]
        if facts.get(total) is not None or of_it:
            told.append(f"{count(facts.get(total)) or '?'} {side}" + (f" ({', '.join(of_it)})" if of_it else ""))
    return [cell(", ".join(told))] if told else []


def finish(reasons: Iterable[str]) -> list[Text]:
    """Return why a model stopped. A reason that cuts an answer short stands out."""
    different = list(dict.fromkeys(reasons))
    if not different:
        return []
    usual = all(one.lower() in _USUAL_ENDS for one in different)
    return [cell(f"finish: {listed(different)}", "" if usual else "yellow")]


def tool_names(call: Call) -> list[str]:
    """Return the tools that the model called, in order; a tool that is called again says how often."""
    called = Counter(
        str(part.get("name") or "?")
        for message in call.output
        for part in message.parts
        if part.get("type") == "tool_call"
    )
    return [name if times == 1 else f"{name} x{times}" for name, times in called.items()]


def listed(names: Sequence[str]) -> str:
    """Return the first names of a list, each cut if it is long, and how many more there are."""
    more = len(names) - _MAX_NAMES
    said = ", ".join(map(short, names[:_MAX_NAMES]))
    return f"{said} and {more:,} more" if more > 0 else said


def plural(number: int, noun: str) -> str:
    """Return ``1 message`` or ``2 messages``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def short(name: str, chars: int = _NAME_CHARS) -> str:
    """Return a name, cut with "…" if it is longer."""
    return name if len(name) <= chars else f"{name[: chars - 1]}…"


def _model(call: Call) -> list[Text]:
    model = model_of(call)
    if model is not None:
        return [cell(short(f"{call.provider} {model}" if call.provider else model), "magenta")]
    asks_model = call.kind in (Kind.LLM, Kind.EMBEDDING, Kind.RERANKER, Kind.MEDIA)
    return [cell(short(call.provider), "magenta")] if call.provider and asks_model else []


def _called(reading: SpanReading) -> list[Text]:
    call, name = reading.call, reading.name
    pieces = []
    if called := tool_names(call):
        pieces.append(cell(f"calls {listed(called)}"))
    for word, kind, fact in (("tool", Kind.TOOL, "tool_name"), ("agent", Kind.AGENT, "agent_name")):
        told = call.facts.get(fact)
        if call.kind is kind and isinstance(told, str) and told not in name:
            pieces.append(cell(f"{word} {short(told)}"))
    return pieces


def _counted(call: Call) -> list[Text]:
    if call.candidates:
        return [cell(f"{len(call.documents):,} of {plural(len(call.candidates), 'document')}")]
    if call.documents or call.kind is Kind.RETRIEVER:
        return [cell(plural(len(call.documents), "document") if call.documents else "no document recorded")]
    return [cell(plural(len(call.texts), "text"))] if call.texts else []


def _choices(call: Call) -> list[Text]:
    return [cell(f"{len(call.output)} choices")] if has_choices(call) else []


def has_choices(call: Call) -> bool:
    """Return whether the output messages are alternatives, rather than what the model said one after another."""
    asked = call.facts.get("choice_count")
    several = len(call.output) > 1
    return several and (
        (isinstance(asked, int) and asked > 1) or all(one.finish_reason is not None for one in call.output)
    )
