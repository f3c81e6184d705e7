"""Wrap text to the width of a terminal, in time that grows with its length alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.cells import get_character_cell_size
from rich.console import Console
from rich.segment import Segment
from rich.text import Text


def wrapped(text: str, width: int) -> Iterator[str]:
    """Yield the lines of one paragraph, broken at spaces, or inside of a word that is longer than a line."""
    at = 0
    narrow = text.isascii()
    while True:
        end = at + width if narrow else _end(text, at, width)
        if end >= len(text):
            yield text[at:]
            return
        space = text.rfind(" ", at + 1, end + 1)
        yield text[at : space if space > 0 else end]
        at = space + 1 if space > 0 else end


def rendered(lines: Iterable[Text], console: Console) -> Iterator[Segment]:
    """Yield lines as they are. Rich would wrap each of them again, which takes most of the time of long texts."""
    for line in lines:
        yield from line.render(console, end="\n")


def _end(text: str, at: int, width: int) -> int:
    """Return the index after the last character that fits in a line; at least one does."""
    cells = 0
    for index in range(at, len(text)):
        cells += get_character_cell_size(text[index])
        if cells > width:
            return max(index, at + 1)
    return len(text)
