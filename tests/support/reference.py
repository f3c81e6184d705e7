"""Write what is generated in the documentation: ``python -m tests.support.reference``.

The reference of the settings in docs/configuration.md, and the names that a drop keeps in docs/privacy.md.
"""

from __future__ import annotations

from pathlib import Path

from netra_otel_bridge.config.declare import Setting
from netra_otel_bridge.config.settings import SETTINGS
from netra_otel_bridge.convert.allowed import FACTS, MEASURED
from netra_otel_bridge.core.time_text import duration_text

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
BEGIN = "<!-- made from netra_otel_bridge/config/settings.py by `make docs` -->\n"
END = "<!-- end of what is made -->\n"
PRIVACY = PAGE.with_name("privacy.md")
PRIVACY_BEGIN = "<!-- made from netra_otel_bridge/convert/allowed.py by `make docs` -->\n"
NO_VALUES = ("99999999d", object())
"""Values for error messages: every setting rejects one of them, and its error says what it expects."""


def default(setting: Setting) -> str:
    """Return the default as a user writes it; empty if there is none."""
    value = setting.default
    if value in (None, (), {}):
        return ""
    if setting.is_duration:
        return duration_text(value)
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else f"{value:.12g}" if isinstance(value, float) else str(value)


def takes(setting: Setting) -> str:
    """Return the values that a setting accepts, in the words of its own error message."""
    for value in NO_VALUES:
        try:
            setting.parse(value)
        except ValueError as error:
            return str(error).removeprefix("expected ")
    raise AssertionError(f"{setting.key} accepts anything")


def table() -> str:
    """Return the table of all settings, one row each."""
    rows = ["| name | variable | default | takes | meaning |", "|---|---|---|---|---|"]
    for one in SETTINGS:
        shown = f"`{default(one)}` " if default(one) else ""
        rows.append(f"| `{one.key}` | `{one.variable}` | {shown}| {takes(one)} | {one.help} |")
    return "\n".join(rows) + "\n"


def names_of_facts() -> str:
    """Return the table of the names that a drop keeps, one namespace a row."""
    namespaces: dict[str, list[str]] = {}
    for name in FACTS:
        namespace, dot, rest = name.partition(".")
        namespaces.setdefault(namespace if dot else "(none)", []).append(rest if dot else name)
    rows = ["| namespace | names |", "|---|---|"]
    rows += [
        f"| `{one}` | {', '.join(f'`{name}`' for name in sorted(namespaces[one]))} |" for one in sorted(namespaces)
    ]
    rows.append(f"| beginnings of names | {', '.join(f'`{beginning}*`' for beginning in MEASURED)} |")
    return "\n".join(rows) + "\n"


def made(page: str) -> str:
    """Return the text of the page of settings with the current table between its two marks."""
    return _between(page, BEGIN, table())


def made_privacy(page: str) -> str:
    """Return the text of the page on privacy with the current table between its two marks."""
    return _between(page, PRIVACY_BEGIN, names_of_facts())


def _between(page: str, begin: str, table: str) -> str:
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(END)
    return f"{before}{begin}\n{table}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text("utf-8")), "utf-8")
    PRIVACY.write_text(made_privacy(PRIVACY.read_text("utf-8")), "utf-8")
