"""Regular expressions of the user: linear time, and how they differ from `re`."""

from __future__ import annotations

import base64
import random
import re
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from netra_otel_bridge import Bridge
from netra_otel_bridge.config.parsers import parse_patterns
from netra_otel_bridge.convert import configured
from netra_otel_bridge.convert.privacy import Privacy
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.expressions import MAX_SCANNED_BYTES, Expression

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
REFUSED = [
    ("a(?=b)", "look-around"),
    ("a(?!b)", "look-around"),
    ("(?<=a)b", "look-around"),
    ("(?<!a)b", "look-around"),
    (r"(a)\1", "back-references"),
    ("(?P<n>a)(?P=n)", "back-references"),
    (r"a\Z", r"write \\z"),
    ("(?x)a b", "verbose"),
    ("a{1001}", "1000"),
    ("(", "RE2's"),
    ("a\ud800", "Unicode"),
]


def redacted(pattern: str, text: str) -> str:
    """Return the text with all matches as ``#``."""
    return Expression(pattern).replace(text, "#")[0]


def documented() -> list[str]:
    """Return the expressions of the documentation's example."""
    block = next(block for block in PAGE.read_text().split("```yaml")[1:] if "redact:" in block)
    return list(yaml.safe_load(block.partition("```")[0])["redact"])


@pytest.mark.parametrize("chars", [80_000, 500_000])
@pytest.mark.parametrize("pattern", [*documented(), r"(\w+)+@example\.com", r"[\w.+-]+@[\w-]+\.[\w.]+", "(a*)*b"])
def test_an_expression_takes_linear_time(pattern: str, chars: int) -> None:
    """Digits, base64 and one repeated letter take milliseconds, whatever the expression."""
    expression = Expression(pattern)
    noise = base64.b64encode(random.Random(7).randbytes(chars)).decode()[:chars]
    begin = time.process_time()
    for text in ("1" * chars, noise, "a" * chars, "a@" * (chars // 2), "1 " * (chars // 2)):
        expression.replace(text, "#")
    assert time.process_time() - begin < 2


def test_many_matches_that_each_read_to_the_end_are_bounded() -> None:
    """Once the searches have read `MAX_SCANNED_BYTES`, the rest of the text is redacted as one."""
    text = "a" * 500_000
    begin = time.process_time()
    found, count = Expression("a.*b|a").replace(text, "#")
    assert time.process_time() - begin < 20
    assert found == "#" * count
    assert count == pytest.approx(MAX_SCANNED_BYTES / len(text), rel=0.01)


def test_an_ordinary_text_never_reaches_the_bound() -> None:
    """A text of 16,000 characters is redacted match by match, even if each character matches."""
    assert Expression(r"\d").replace("1" * 16_000, "#") == ("#" * 16_000, 16_000)


def test_the_documented_example_finds_cards_and_addresses() -> None:
    """The example in the documentation redacts whole card numbers and e-mail addresses, and nothing beside them."""
    text = "Write to jörg.müller+a@exämple.co.uk, <x_y@a-b.io>. Card 4111-1111 1111 1111, not 12345@ or @home or a@b."
    for pattern in documented():
        text = redacted(pattern, text)
    assert text == "Write to #, <#>. Card #, not 12345@ or @home or a@b."


@pytest.mark.parametrize(("pattern", "advice"), REFUSED)
def test_a_refused_expression_says_why(pattern: str, advice: str) -> None:
    """An expression that RE2 cannot take is refused when it is read, with the reason and what to do."""
    with pytest.raises(ValueError, match=f"expected regular expressions: .*refused.*{advice}"):
        parse_patterns([pattern])


@pytest.mark.parametrize("compiled", [re.compile("a(?=b)"), re.compile("a b", re.VERBOSE), re.compile(r"(a)\1")])
def test_a_policy_refuses_them_too(compiled: re.Pattern[str]) -> None:
    """A policy of a program is refused for the same reasons, before any conversion."""
    with pytest.raises(UsageError, match="refused"):
        Privacy(content="redact", redact=(compiled,))


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"a$", "a\n", "a\n"),
        (r"(?m)a$", "a\na\n", "#\n#\n"),
        (r"a\z", "a a", "a #"),
        (r"\w+", "jörg", "#ö#"),
        (r"[\pL\pN_]+", "jörg_7 x", "# #"),
        (r"\d+", "٣ 3", "٣ #"),
        (r"\p{Nd}+", "٣ 3", "# #"),
        (r"(?i)straße", "STRAßE", "#"),
        (r"a.c", "a\nc aéc", "a\nc #"),
        (r"(?s)a.c", "a\nc", "#"),
        (r"x*", "axxb", "a#b"),
        (r"(a)(b)?", "abac", "##c"),
        ("a", "é\udc80a\ud800a", "é\udc80#\ud800#"),
    ],
)
def test_the_meaning_of_an_expression(pattern: str, text: str, expected: str) -> None:
    """The documented differences to `re` hold: ends of lines, ASCII classes, empty matches, literal replacement."""
    assert redacted(pattern, text) == expected


def test_the_replacement_is_literal() -> None:
    """Back-slashes and group names in a replacement mean themselves."""
    assert Expression("(a)").replace("xax", r"\1\g<0>") == (r"x\1\g<0>x", 1)


def test_flags_of_a_compiled_expression_count() -> None:
    """The flags I, M and S of a compiled expression keep their meaning."""
    assert Expression.of(re.compile("a.b", re.I | re.S)).replace("A\nB", "#") == ("#", 1)
    assert Expression.of(re.compile("^a$|b", re.M)).replace("x\na\n", "#") == ("x\n#\n", 1)
    assert Expression.of(re.compile("a|b", re.I)) == Expression("a|b", "i") != Expression("a|b")
    assert hash(Expression("a")) == hash(Expression("a"))
    assert repr(Expression("a")) == "Expression('a')"


def test_the_expressions_of_the_settings_redact_content() -> None:
    """A bridge whose settings have an expression in RE2's own syntax redacts what it matches."""
    bridge = Bridge(environ={"NETRA_BRIDGE_CONTENT": "redact", "NETRA_BRIDGE_REDACT": r"\pN+"})
    privacy = bridge.converter().privacy
    counts: Counter[str] = Counter()
    assert privacy.apply({"input": "a 12 ٣", "model": "7"}, has_pii=False, counts=counts) == {
        "input": "a [redacted] [redacted]", "model": "[redacted]",
    }  # fmt: skip
    assert counts == {"content_redacted": 3}
    assert privacy == configured("redact", (Expression(r"\pN+"),), "keep", "keep")
    assert privacy != configured("redact", (Expression("a"),), "keep", "keep")
