"""Declare a setting as a field of a dataclass: its variable, default, parser and explanation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, as docs/configuration.md lists it.

    ``parse`` takes text or a YAML value, and raises ``ValueError`` with the rule. ``help`` is Markdown, with links as
    that page has them.
    """

    name: str
    variable: str
    default: Any
    parse: Callable[[Any], Any]
    help: str

    @property
    def key(self) -> str:
        """Return its name in the configuration file, where the value of a duration includes the unit."""
        return self.name.removesuffix("_s").removesuffix("_ns")

    @property
    def is_duration(self) -> bool:
        """Return whether the value is a duration, in nanoseconds."""
        return self.name.endswith("_ns")


def setting(variable: str, default: T, parse: Callable[[Any], T], help: str) -> T:
    """Declare a setting: the value of a dataclass field, whose name becomes the name of the setting."""
    value: Any = field(
        default_factory=lambda: default,
        metadata={"variable": variable, "default": default, "parse": parse, "help": help},
    )
    return value  # type: ignore[no-any-return]  # dataclass fields are declared by a value of another type


def declared(settings: type[Any]) -> tuple[Setting, ...]:
    """Return the settings that a dataclass declares, in order."""
    return tuple(Setting(one.name, **one.metadata) for one in fields(settings) if one.metadata)
