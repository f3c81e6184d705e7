"""The tables of docs/mapping.md that are made from those in ``convert/llm``: facts, words, providers, dialects."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Callable, Iterable

from netra_otel_bridge.convert.llm import dialects
from netra_otel_bridge.convert.llm.call import Call, Kind, Message
from netra_otel_bridge.convert.llm.dialects import DIALECTS
from netra_otel_bridge.convert.llm.dialects.vector_store import SEARCHES, STORES
from netra_otel_bridge.convert.llm.facts import FACTS, Fact
from netra_otel_bridge.convert.llm.genai import FINISH_REASONS, ONLY_OF
from netra_otel_bridge.convert.llm.kinds import COLUMN_DECIDES
from netra_otel_bridge.convert.llm.messages import ROLES
from netra_otel_bridge.convert.llm.openinference import kind_name
from netra_otel_bridge.convert.llm.operations import GENERATION, OPERATIONS
from netra_otel_bridge.convert.llm.providers import (
    EXACT,
    FAMILIES,
    INSTRUMENTATIONS,
    OPENINFERENCE,
    PROVIDERS,
    openinference_names,
)

_ROOM = "netra_otel_bridge/convert/llm"


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _one(word: str | None) -> str:
    return f"`{word}`" if word else ""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [_row(head), "|" + "---|" * len(head), *map(_row, rows)]
    return "\n".join(lines) + "\n"


def _row(cells: tuple[str, ...]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _filled(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False)


def _keys(fact: Fact) -> str:
    """Return the keys of a fact, dialect by dialect in order of precedence."""
    own = {fact.genai, fact.openinference}
    by_dialect = (
        (one.name, [key for key, name in one.facts if name == fact.name and key not in own]) for one in DIALECTS
    )
    return "; ".join(f"{name}: {_code(keys)}" for name, keys in by_dialect if keys)


def facts() -> str:
    """Return each fact with the keys that it is read from and the names that it gets."""
    rows = []
    for fact in FACTS:
        only = f" ({ONLY_OF[fact.name].value})" if fact.genai and fact.name in ONLY_OF else ""
        rows.append(
            (f"`{fact.name}`", _keys(fact), _one(fact.genai) + only, _one(fact.openinference), _one(fact.parameter))
        )
    return _table(("fact", "also recorded as", "GenAI", "OpenInference", "parameter"), rows)


def _openinference_kind(kind: Kind) -> str:
    without, with_messages = kind_name(Call({}, kind)), kind_name(Call({}, kind, output=[Message("assistant")]))
    return f"`{without}`" if without == with_messages else f"`{with_messages}` with messages, else `{without}`"


def words() -> str:
    """Return the words that dialects use for an operation or kind, by what they mean."""
    meanings: dict[tuple[Kind, str | None], list[str]] = {}
    for word, meaning in OPERATIONS.items():
        meanings.setdefault(meaning, []).append(word)
    rows = [
        (
            f"`{kind.value}`",
            _code(listed),
            _code(word for word in map(str.upper, listed) if word in COLUMN_DECIDES),
            _one(operation),
            _openinference_kind(kind),
        )
        for (kind, operation), listed in meanings.items()
    ]
    rows.append(
        ("any with a model", _code(sorted(GENERATION)), "`GENERATION`", "by the [shape](#kind-and-operation)", "")
    )
    rows.append(("`OTHER`", "any other", "`SPAN`", "", _openinference_kind(Kind.OTHER)))
    return _table(("kind", "words", "Netra's type", "`gen_ai.operation.name`", "`openinference.span.kind`"), rows)


def stores() -> str:
    """Return the sentence on databases whose queries are retrievals."""
    return _filled(f"Vector stores: {_code(sorted(STORES))}. Operations that search: {_code(sorted(SEARCHES))}.") + "\n"


def providers() -> str:
    """Return each provider with what it is recorded as and its names in both conventions."""
    names = dict.fromkeys((*PROVIDERS, *OPENINFERENCE, *INSTRUMENTATIONS.values()))
    return _table(
        ("`gen_ai.provider.name`", "recorded as", "family", "instrumentation", "`llm.provider`", "`llm.system`"),
        (
            (
                f"`{name}`",
                _code(word for word, meant in EXACT.items() if meant == name != word),
                _code(f"{word}*" for word, meant in FAMILIES if meant == name),
                _code(word for word, meant in INSTRUMENTATIONS.items() if meant == name),
                *map(_one, openinference_names(name)),
            )
            for name in names
        ),
    )


def _meanings(table: dict[str, str]) -> list[tuple[str, str]]:
    """Return each meaning with its words."""
    return [
        (f"`{meant}`", _code(word for word, one in table.items() if one == meant and word != meant))
        for meant in dict.fromkeys(table.values())
    ]


def roles() -> str:
    """Return each role with the words that are read as it."""
    return _table(("role", "also recorded as"), _meanings(ROLES))


def finish_reasons() -> str:
    """Return each finish reason of the conventions with those that providers write."""
    return _table(("finish reason", "also recorded as"), _meanings(FINISH_REASONS))


def _documentation() -> dict[str, tuple[str, str]]:
    """Return the module and its docstring of each dialect, by name."""
    found = {}
    for info in pkgutil.iter_modules(dialects.__path__):
        module = importlib.import_module(f"{dialects.__name__}.{info.name}")
        for one in vars(module).values():
            if isinstance(one, dialects.Dialect):
                found[one.name] = (info.name, inspect.cleandoc(module.__doc__ or ""))
    return found


def dialect_list() -> str:
    """Return each dialect in order of precedence: what it is, and an example."""
    documentation = _documentation()
    shown: set[str] = set()
    blocks = []
    for one in DIALECTS:
        module, text = documentation[one.name]
        summary, example, *rest = text.split("\n\n")
        title = f"**{one.name}** (`dialects/{module}.py`)"
        if module in shown:
            blocks.append(f"{title}: the part that is read last.")
            continue
        shown.add(module)
        notes = "".join(f"\n\n{_filled(note)}" for note in rest).replace("``", "`")
        blocks.append(f"{_filled(f'{title}: {summary}')}\n\n```text\n{textwrap.dedent(example)}\n```{notes}")
    return "\n\n".join(blocks) + "\n"


TABLES: dict[str, Callable[[], str]] = {
    f"{_ROOM}/operations.py": words,
    f"{_ROOM}/dialects/vector_store.py": stores,
    f"{_ROOM}/providers.py": providers,
    f"{_ROOM}/facts.py": facts,
    f"{_ROOM}/messages.py": roles,
    f"{_ROOM}/genai.py": finish_reasons,
    f"{_ROOM}/dialects": dialect_list,
}
"""Each table by the code that it is made from."""
