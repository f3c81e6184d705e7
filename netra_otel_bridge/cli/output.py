"""The two consoles: results go to stdout, everything else to stderr."""

from __future__ import annotations

import sys

from rich.console import Console

FILE_WIDTH = 140
"""Width of tables written to a file or pipe, where nothing may be cut."""


def console(stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, emoji=False, width=None if stream.isatty() else FILE_WIDTH)


out = console()
err = console(stderr=True)
