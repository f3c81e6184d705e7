"""Command groups that import a command's module when the command is used."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
import typer.core
import typer.main


class Command(NamedTuple):
    """A command: ``summary`` is the first sentence of its help, ``path`` is ``module:function`` in this package.

    ``epilog`` names the text in that module that the help shows after the options.
    """

    summary: str
    path: str
    epilog: str = ""


class Group(NamedTuple):
    """A group of commands: ``summary`` is its help."""

    summary: str
    commands: Mapping[str, Command]


class LazyGroup(typer.core.TyperGroup):
    """A group that lists its commands without importing them."""

    def __init__(self, entries: Mapping[str, Command | Group], **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": _Commands(entries)})
        self._entries = entries

    def list_commands(self, _context: object) -> list[str]:
        """Return the names in the order of the table."""
        return list(self._entries)

    def format_commands(self, _context: object, formatter: Any) -> None:
        """Write the table's summaries, which are never shortened."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self._entries.items()])


class _Commands(UserDict[str, Any]):
    """Commands by name. An entry is imported, and made a typer command, when it is first looked up."""

    def __getitem__(self, name: str) -> Any:
        entry = self.data[name]
        if isinstance(entry, Command | Group):
            entry = self.data[name] = _loaded(name, entry)
        return entry


def _loaded(name: str, entry: Command | Group) -> Any:
    if isinstance(entry, Group):
        return LazyGroup(entry.commands, name=name, help=entry.summary, no_args_is_help=True, rich_markup_mode=None)
    path, _, function = entry.path.partition(":")
    module = import_module(f"{__package__}.{path}")
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, epilog=getattr(module, entry.epilog) if entry.epilog else None)(getattr(module, function))
    return typer.main.get_command(alone)
