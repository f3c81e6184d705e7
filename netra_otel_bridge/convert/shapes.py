"""Recognize text that is a plain fact by its shape: a token, a name, a number, an address.

Each function returns the text that may leave, or ``None``. All take ASCII alone: Chinese and Japanese write sentences
without spaces. A shape cannot tell the one-word name of a tool from a one-word answer; the attribute's name does that
(`netra_otel_bridge.convert.allowed`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

Shape = Callable[[str], str | None]


def words(text: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(text.split())


_MAX_WORDS = 12
"""Maximum words in a token. An ARN of a model has eleven; a sentence written with dashes is often longer."""
_LONG = 48
"""Length from which on the words of a token are counted."""
_TOKEN = re.compile(r"[A-Za-z0-9_/$~.@<-][A-Za-z0-9_.:/@+=#~|$*>-]{0,127}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,39}")
_TITLE = re.compile(
    r"(?=.*[a-z])(?:[A-Z][a-z0-9]+[A-Za-z0-9]*|[A-Z][A-Z0-9]{1,4})(?: (?:[A-Z][a-z0-9]+[A-Za-z0-9]*|[A-Z][A-Z0-9]{1,4})){1,2}"
)
_SEPARATED = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2,}(?![A-Za-z0-9])")
_NUMBER = re.compile(r"[+-]?[0-9]{1,24}(?:\.[0-9]{1,24})?(?:[eE][+-]?[0-9]{1,4})?|true|false|True|False")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,]{5,20} ?(?:Z|[+-][0-9]{2}:?[0-9]{2})?|[0-9]{1,24}(?:\.[0-9]{1,9})?"
)
_ROUTE = re.compile(r"/[A-Za-z0-9_.:/{}<>*()$~^\[\]\\-]{0,199}|\*")
_URL = re.compile(r"[a-z][a-z0-9+.-]{1,15}://[A-Za-z0-9_.:\[\]-]{1,253}(?:/[A-Za-z0-9_.:/~-]{0,199})?")
_MEDIA_TYPE = re.compile(r"[a-z]{2,20}/[A-Za-z0-9.+-]{1,60}")
_COUNT_WORD = (
    "(?:input|output|prompt|completion|total|tokens?|cached?|read|write|creation|above|1hr|5m|1h|reasoning|audio|image"
    "|text|video|details|accepted|rejected|prediction|cost)"
)
_COUNT_NAME = rf'"{_COUNT_WORD}(?:_{_COUNT_WORD}){{0,7}}"'
_COUNT = rf"(?:{_NUMBER.pattern}|null)"
_FLAT_COUNTS = rf"\{{(?: ?{_COUNT_NAME}: ?{_COUNT}(?:,(?! ?\}})|(?= ?\}}))){{0,40}} ?\}}"
_COUNTS = re.compile(rf"\{{(?: ?{_COUNT_NAME}: ?(?:{_COUNT}|{_FLAT_COUNTS})(?:,(?! ?\}})|(?= ?\}}))){{0,40}} ?\}}")
_MAX_COUNTS_CHARS = 2000
_ROLES = words("system developer user human assistant ai agent model tool function input output thinking unknown")
_ON_NAMES = words(
    "invoke_agent create_agent invoke_workflow execute_tool agent tool workflow task handoff guardrail running"
)
"""First words of span names whose second part is the name that somebody gave to an agent, a workflow or a tool."""
_ON_TOKENS = words(
    "chat text_completion generate_content embeddings embedding completion response responses retrieval rerank"
    " create_memory search_memory update_memory upsert_memory delete_memory tools/call tools/list prompts/get"
    " prompts/list resources/read resources/list initialize"
    " GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH HTTP"
    " SELECT INSERT UPDATE UPSERT MERGE CREATE DROP ALTER BEGIN COMMIT ROLLBACK CALL EXEC"
    " send publish receive process settle create"
)
"""First words of span names by the conventions: operations of models, methods, statements, messaging."""
_AFTER_TOKENS = words("send publish receive process settle create deliver ack run call")
"""Second words of span names by older conventions, such as ``orders publish``."""


def token(text: str) -> str | None:
    """Return an identifier: a model, an id, a version, a host, a path. It has no white space."""
    if not text:
        return text
    if _TOKEN.fullmatch(text) is None or text.count("+") > 1:
        return None
    return text if len(text) < _LONG or len(_SEPARATED.findall(text)) <= _MAX_WORDS else None


def name(text: str) -> str | None:
    """Return a name that somebody gave: an identifier, or two or three words with capitals, such as ``Trip Planner``."""
    return text if token(text) is not None or (len(text) <= 64 and _TITLE.fullmatch(text)) else None


def word(text: str) -> str | None:
    """Return a word of an enumeration, such as ``tool_calls``."""
    return text if not text or _WORD.fullmatch(text) else None


def role(text: str) -> str | None:
    """Return the role of a message. Others are dropped: some frameworks put the name of a person there."""
    return text if text.lower() in _ROLES else None


def number(text: str) -> str | None:
    """Return a number or a truth value that was recorded as text."""
    return text if not text or _NUMBER.fullmatch(text) else None


def counts(text: str) -> str | None:
    """Return a JSON object of tokens or costs by the known names of their parts, such as ``{"input": 10, "total": 13}``."""
    return text if not text or (len(text) <= _MAX_COUNTS_CHARS and _COUNTS.fullmatch(text)) else None


def quoted_token(text: str) -> str | None:
    """Return an identifier that is written as a JSON string."""
    return text if len(text) > 2 and text[0] == text[-1] == '"' and token(text[1:-1]) is not None else None


def instant(text: str) -> str | None:
    """Return a time that was recorded as text."""
    return text if not text or _INSTANT.fullmatch(text) else None


def media_type(text: str) -> str | None:
    """Return a media type, such as ``application/json``."""
    return text if not text or _MEDIA_TYPE.fullmatch(text) else None


def route(text: str) -> str | None:
    """Return the template of a path, such as ``/users/{id}``."""
    return text if not text or _ROUTE.fullmatch(text) else None


def url(text: str) -> str | None:
    """Return a URL without its query and fragment. One with credentials or escaped characters is dropped."""
    end = min((at for at in (text.find("?"), text.find("#")) if at >= 0), default=len(text))
    left = text if end == len(text) else text[:end]
    return left if not left or _URL.fullmatch(left) or _ROUTE.fullmatch(left) else None


def span_name(text: str) -> str | None:
    """Return the name of a span by the conventions: an identifier, or an operation and what it acts on."""
    if token(text) is not None:
        return text
    first, _, rest = text.partition(" ")
    if first in _ON_NAMES or first.startswith("ai."):
        return text if name(rest) is not None and rest else None
    if first in _ON_TOKENS:
        return text if rest and (token(rest) is not None or route(rest) is not None) else None
    return text if rest in _AFTER_TOKENS and token(first) is not None else None
