"""The two consoles: results go to stdout, everything else to stderr. Nothing in a text acts on the terminal."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console as RichConsole
from rich.text import Text

from netra_otel_bridge.core.outside_text import escaped

FILE_WIDTH = 140
"""Width of tables written to a file or pipe, where nothing may be cut."""


class Console(RichConsole):
    """A console that prints each string as one line, whatever it contains. Cells of tables are made by `cell`."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, with every string `escaped`."""
        super().print(*(escaped(one) if isinstance(one, str) else one for one in objects), **options)


def cell(value: object, style: str = "") -> Text:
    """Return a value for a table or a tree, `escaped`; ``None`` is empty."""
    return Text(escaped("" if value is None else str(value)), style=style)


def console(stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, emoji=False, width=None if stream.isatty() else FILE_WIDTH)


out = console()
err = console(stderr=True)
