"""Redact what was read of a call, which may join texts that matched nothing alone.

The names of fields and facts are the bridge's own. Counts and scores stay numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from netra_otel_bridge.convert.effort import Effort
from netra_otel_bridge.convert.llm import Call, Document, Message
from netra_otel_bridge.convert.privacy import Privacy


def redacted_call(call: Call, privacy: Privacy, counts: Counter[str], effort: Effort | None) -> Call:
    """Return the call with each match replaced in its texts, counted in ``counts``."""

    def text(value: Any) -> Any:
        return privacy.redacted(value, counts, effort)

    def values(part: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value if key == "type" else text(value) for key, value in part.items()}

    def messages(given: Sequence[Message]) -> list[Message]:
        return [
            Message(text(one.role), [values(part) for part in one.parts], text(one.finish_reason), text(one.name))
            for one in given
        ]

    def documents(given: Sequence[Document]) -> list[Document]:
        return [replace(one, content=text(one.content), id=text(one.id), metadata=text(one.metadata)) for one in given]

    return replace(
        call,
        facts={name: fact if isinstance(fact, int | float) else text(fact) for name, fact in call.facts.items()},
        operation=text(call.operation),
        provider=text(call.provider),
        input=messages(call.input),
        output=messages(call.output),
        system=[values(part) for part in call.system],
        tools=[values(tool) for tool in call.tools],
        texts=text(call.texts),
        query=text(call.query),
        documents=documents(call.documents),
        candidates=documents(call.candidates),
    )
