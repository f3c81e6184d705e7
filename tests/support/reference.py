"""Write the reference of the settings in docs/configuration.md: ``python -m tests.support.reference``."""

from __future__ import annotations

from pathlib import Path

from netra_otel_bridge.config.declare import Setting
from netra_otel_bridge.config.settings import SETTINGS
from netra_otel_bridge.core.time_text import duration_text

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
BEGIN = "<!-- made from netra_otel_bridge/config/settings.py by `make docs` -->\n"
END = "<!-- end of what is made -->\n"
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


def made(page: str) -> str:
    """Return the text of the page with the current table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text("utf-8")), "utf-8")
