"""Read what was looked for and found: queries, documents with scores, and texts that were embedded."""

from __future__ import annotations

import re
from typing import Any

from netra_otel_bridge.convert.llm.call import Call, Document, Kind
from netra_otel_bridge.convert.llm.dialects.indexed import completions, prompts
from netra_otel_bridge.convert.llm.facts import as_number, as_text
from netra_otel_bridge.convert.llm.messages import plain, text_of
from netra_otel_bridge.convert.llm.parts import decoded, leading_items
from netra_otel_bridge.convert.llm.recorded import Recorded

_RANKED = re.compile(r"Doc (\d{1,6}), Score: (-?[0-9.]{1,24}(?:e-?\d{1,3})?)\n?")
_QUERY_KEYS = ("query", "query_str", "str_or_query_bundle", "question", "input", "q")
_LIST_KEYS = ("documents", "docs", "nodes", "results", "matches", "source_nodes")
_CONTENT_KEYS = ("content", "page_content", "pageContent", "text", "document")
_ID_KEYS = ("id", "id_", "node_id", "doc_id")


def read(call: Call, recorded: Recorded) -> None:
    """Add texts, queries and documents to a call of the kinds EMBEDDING, RETRIEVER and RERANKER."""
    if call.kind is Kind.EMBEDDING:
        call.texts = call.texts or [one for fields in prompts(recorded) for one in _texts(fields.get("content"))]
        return
    facts = recorded.facts
    if call.kind is Kind.RERANKER and (members := prompts(recorded)):
        call.candidates = call.candidates or [
            Document(content)
            for fields in members
            if fields.get("role") == "system" and (content := plain(fields.get("content")))
        ]
        asked = [fields.get("content") for fields in members if fields.get("role") != "system"]
        call.query = as_text(facts.get("query")) or (plain(asked[-1]) if asked else None)
        call.documents = call.documents or [
            one for fields in completions(recorded.groups) if (one := _ranked(fields.get("content"))) is not None
        ]
    if call.kind is Kind.RERANKER:
        call.candidates = call.candidates or _documents(facts.get("input"))
    call.query = call.query or as_text(facts.get("query")) or text_of(call.input) or _query(facts.get("input"))
    call.documents = call.documents or _documents(facts.get("documents")) or _documents(facts.get("output"))


def _texts(content: Any) -> list[str]:
    """Return the texts of one content; netra-sdk for JavaScript puts all into one, as JSON."""
    if isinstance(content, str) and content and not content.lstrip().startswith(("[", "{")):
        return [content]
    items = decoded(content)
    if isinstance(items, list) and items and all(isinstance(item, str) for item in items):
        return items
    words = plain(content)
    return [words] if words else []


def _ranked(content: Any) -> Document | None:
    """Return a document of a reranker as netra-sdk writes it: ``Doc 0, Score: 0.91``, then its text."""
    if not isinstance(content, str):
        return None
    match = _RANKED.match(content)
    if match is None:
        return Document(content)
    score = as_number(match[2])
    return Document(content[match.end() :] or None, match[1], None if score is None else float(score))


def _query(value: Any) -> str | None:
    found = decoded(value)
    if isinstance(found, dict):
        return next((found[key] for key in _QUERY_KEYS if isinstance(found.get(key), str)), None)
    return found if isinstance(found, str) and found else None


def _documents(value: Any) -> list[Document]:
    found = decoded(value)
    if isinstance(found, dict):
        found = next((found[key] for key in _LIST_KEYS if isinstance(found.get(key), list)), None)
    items = found if isinstance(found, list | tuple) else leading_items(value)[0]
    return [one for item in items if (one := _document(item)) is not None]


def _document(item: Any) -> Document | None:
    if isinstance(item, str):
        return Document(item)
    if not isinstance(item, dict):
        return None
    inner = item.get("node", item.get("document"))
    source = inner if isinstance(inner, dict) else item
    content = next((source[key] for key in _CONTENT_KEYS if isinstance(source.get(key), str)), None)
    number = next((source[key] for key in _ID_KEYS if isinstance(source.get(key), str | int)), item.get("id"))
    score = as_number(item.get("score", source.get("score")))
    metadata = source.get("metadata")
    if content is None and number is None and score is None:
        return None
    return Document(
        content,
        str(number) if isinstance(number, str | int) else None,
        None if score is None else float(score),
        metadata or None,
    )
