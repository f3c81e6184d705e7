"""Write the tables of the documentation that are made from code: ``python -m tests.support.reference``.

A table stands between a mark that names its source and a mark for its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from netra_otel_bridge.config.declare import Setting
from netra_otel_bridge.config.settings import SETTINGS
from netra_otel_bridge.convert.allowed import FACTS, MEASURED
from netra_otel_bridge.core.time_text import duration_text
from tests.support import mapping_tables

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN = "<!-- made from {source} by `make docs` -->\n"
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


PAGES: dict[str, Mapping[str, Callable[[], str]]] = {
    "configuration.md": {"netra_otel_bridge/config/settings.py": table},
    "mapping.md": mapping_tables.TABLES,
    "privacy.md": {"netra_otel_bridge/convert/allowed.py": names_of_facts},
}
"""The pages with tables that are made, and for each table its source."""


def made(name: str, page: str) -> str:
    """Return the text of the page ``name`` with each of its tables as the code makes it now."""
    for source, make in PAGES[name].items():
        begin = BEGIN.format(source=source)
        if page.count(begin) != 1:
            raise ValueError(f"docs/{name} has no place, or two, for the table made from {source}")
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(END)
        page = f"{before}{begin}\n{make()}\n{END}{after}"
    return page


if __name__ == "__main__":
    for name in PAGES:
        page = DOCS / name
        page.write_text(made(name, page.read_text("utf-8")), "utf-8")
