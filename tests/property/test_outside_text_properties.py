"""Text from outside: no secret is left in part, and nothing acts on a terminal, whatever was said."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.core.model.outcome import Delivered, Outcome
from netra_otel_bridge.core.outside_text import (
    MAX_CHARS,
    error_line,
    escaped,
    escaped_json,
    header_secrets,
    mask,
    safe_line,
)
from netra_otel_bridge.deliver.answers import (
    connection_outcome,
    defect_outcome,
    grpc_outcome,
    http_outcome,
    not_otlp_outcome,
    partial_outcome,
    shown,
)
from netra_otel_bridge.deliver.exporter_words import words_outcome
from netra_otel_bridge.source.failures import Redactor

SECRET = "Bearer sk-live-0123456789abcdef"
SECRETS = header_secrets({"authorization": SECRET})
FEW = 3
"""Characters of a secret that may be left: so short a text could be anything."""
ANSWERS: dict[str, Callable[[str], Outcome]] = {
    "http": lambda words: http_outcome(401, words.encode(), "text/plain"),
    "http 200": lambda words: not_otlp_outcome(words.encode()),
    "grpc": lambda words: grpc_outcome(StatusCode.UNAUTHENTICATED, words),
    "rejected": lambda words: partial_outcome(1, words),
    "warning": lambda words: partial_outcome(0, words),
    "connection": lambda words: connection_outcome(words),
    "log": lambda words: words_outcome(words),
    "exception": lambda words: defect_outcome("the exporter", ValueError(words)),
}
ACTS = st.sampled_from("\x00\t\n\r\x1b\x7f\x85\x9b\xad\u061c\u200b\u200e\u2028\u202e\u2066\ufeff\udc80\U000e0041")
hostile = st.text(ACTS | st.characters() | st.sampled_from("ab \\\"'[]"), max_size=60)


def left_of(secret: str, text: str) -> int:
    """Return the length of the longest beginning of ``secret`` in the text."""
    return max(size for size in range(len(secret) + 1) if secret[:size] in text)


@pytest.mark.parametrize("form", ANSWERS)
@given(
    before=st.integers(0, 5000), after=st.integers(0, 600), cut=st.integers(0, len(SECRET)), repeats=st.integers(1, 3)
)
def test_no_cut_leaves_a_part_of_a_secret(form: str, before: int, after: int, cut: int, repeats: int) -> None:
    """A secret at any offset of an answer, whole or cut by the server at the end, leaves at most a few characters."""
    words = (
        f"{'x' * before}{(SECRET + ' ') * (repeats - 1)}{SECRET}{'y' * after}" if after else "x" * before + SECRET[:cut]
    )
    answer = shown(ANSWERS[form](words), SECRETS)
    text = answer.warning if isinstance(answer, Delivered) else f"{answer.reason}"
    assert len(text) <= MAX_CHARS
    for secret in SECRETS:
        assert left_of(secret, text) <= FEW


@given(before=st.integers(0, 400), limit=st.integers(1, 400))
def test_no_limit_of_a_line_leaves_a_part_of_the_key(before: int, limit: int) -> None:
    """What Netra repeats is masked before it is cut, wherever the cut is."""
    assert left_of("sk-live-0123456789abcdef", Redactor(SECRET).line("x" * before + SECRET + "!", limit)) <= FEW


@pytest.mark.parametrize("form", ANSWERS)
def test_a_secret_across_the_400th_character_is_masked(form: str) -> None:
    """The case that was found: a header that is echoed around the limit of a line."""
    for before in range(MAX_CHARS - 60, MAX_CHARS + 10):
        answer = shown(ANSWERS[form]("x" * before + SECRET + "y" * 50), SECRETS)
        assert left_of("sk-live", answer.warning if isinstance(answer, Delivered) else answer.reason) <= FEW


def test_the_end_of_a_text_is_masked_only_if_it_begins_a_secret() -> None:
    """Three characters of a secret at the end stay, because they could be any word."""
    assert mask("rejected: Bear", SECRETS) == "rejected: ***"
    assert mask("rejected: Bea", SECRETS) == "rejected: Bea"
    assert mask("rejected: 0123", SECRETS) == "rejected: 0123"


@given(before=st.integers(300, MAX_CHARS))
def test_a_line_that_was_cut_without_secrets_can_be_masked_later(before: int) -> None:
    """An exception is cut where no secret is known; the log, which knows them, masks the part at the end."""
    line = error_line(ValueError("x" * before + SECRET + "y" * 50))
    for secret in SECRETS:
        assert left_of(secret, mask(line, SECRETS)) <= FEW


def acts(text: str) -> list[str]:
    """Return the characters of the text that a terminal obeys or hides."""
    joiners = "\u200c\u200d"
    return [one for one in text if unicodedata.category(one) in ("Cc", "Zl", "Zp", "Cs") or (
        unicodedata.bidirectional(one) in ("LRE", "LRO", "RLE", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    ) or (one in "\u200b\u200e\u200f\u061c\ufeff\xad" and one not in joiners)]  # fmt: skip


@given(hostile)
def test_nothing_acts_on_a_terminal(text: str) -> None:
    """Escaped text has no control characters, no line breaks and no marks of direction, and can be encoded."""
    for line in (escaped(text), safe_line(text)):
        assert acts(line) == []
        assert len(line.splitlines()) <= 1
        line.encode()


@given(st.text("aé漢字😀👨\u200d👩 می\u200cخواهم[]:\\\u3000"))
def test_ordinary_text_stays(text: str) -> None:
    """Letters of all scripts, emoji with their joiners, wide spaces and back-slashes are not changed."""
    assert escaped(text) == text


@given(st.recursive(hostile, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile, inner, max_size=3)))
def test_json_keeps_its_value(value: object) -> None:
    """The escaped document reads back as the same value, and contains nothing that acts but its own line breaks."""
    text = escaped_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(text) == value
    assert set(acts(text)) <= {"\n"}
