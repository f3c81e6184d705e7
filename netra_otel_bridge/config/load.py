"""Load the settings: a flag overrides the environment, which overrides the file, which overrides the default.

The origin of each value is recorded, for messages and ``config show``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from netra_otel_bridge.config.declare import Setting
from netra_otel_bridge.config.parsers import Secret, parse_secret
from netra_otel_bridge.config.settings import SETTINGS, Settings
from netra_otel_bridge.core.errors import ConfigurationError, UsageError

CONFIG_FILE_VARIABLE = "NETRA_BRIDGE_CONFIG"
_GIVEN = ("flag", "argument")
_SECRET_FILES = (("api_key", "key"), ("grpc_token", "token"), ("user_hash_key", "key"))
"""Settings that may be read from a separate file, and the word for its content."""
_FILE_KEYS = {setting.key: setting for setting in SETTINGS}


def load(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    config_file: str | Path | None = None,
    given_as: Literal["flag", "argument"] = "flag",
) -> Settings:
    """Return the settings from ``flags`` (absent or ``None``: not given), the environment and one YAML file.

    Flags and the file use the same names, `Setting.key`; ``given_as`` is the origin of the values in ``flags``. Raises
    `ConfigurationError` that names the variable, or the file, line and key, and `UsageError` for a flag or an argument.
    """
    unknown = flags.keys() - _FILE_KEYS.keys()
    if unknown:
        known = ", ".join(sorted(_FILE_KEYS))
        raise UsageError(f"there is no setting {', '.join(sorted(unknown))}", hint=f"known: {known}")
    file = config_file or environ.get(CONFIG_FILE_VARIABLE) or None
    from_file = _read_file(Path(file)) if file else {}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        given, origin = setting.default, "default"
        if setting.name in from_file:
            given, origin = from_file[setting.name]
        if environ.get(setting.variable, "").strip() and setting.name != "destinations":
            given, origin = environ[setting.variable], setting.variable
        if flags.get(setting.key) is not None:
            given, origin = flags[setting.key], given_as
        values[setting.name] = given if origin == "default" else _parsed(setting, given, origin)
        origins[setting.name] = origin
    for name, what in _SECRET_FILES:
        path = values[f"{name}_file"]
        if values[name] is None and path is not None:
            values[name] = _read_secret(Path(path), _where(f"{name}_file", origins[f"{name}_file"]), what)
            origins[name] = path
    if values["content"] == "redact" and not values["redact"]:
        raise ConfigurationError("content is set to redact, but redact has no expression", hint="set redact")
    return Settings(**values, origins=origins)


def state_home(environ: Mapping[str, str]) -> Path:
    """Return the default state directory: systemd's (``STATE_DIRECTORY``), else the user's own."""
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    home = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "netra-otel-bridge"


def _parsed(setting: Setting, given: Any, origin: str) -> Any:
    try:
        return setting.parse(given)
    except ValueError as error:
        where = _where(setting.key, origin)
        if origin in _GIVEN:
            raise UsageError(f"{where}: {error}") from None
        raise ConfigurationError(f"{where}: {setting.key}: {error}") from None


def _where(key: str, origin: str) -> str:
    """Return the place where a setting was given, for a message.

    It is the flag, the argument's name, or the origin itself.
    """
    return f"--{key.replace('_', '-')}" if origin == "flag" else key if origin == "argument" else origin


def _read_secret(path: Path, origin: str, what: str) -> Secret:
    try:
        return parse_secret(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{origin}: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(
            f"{origin}: {path} holds no {what}", hint=f"it must contain the {what} and nothing else"
        ) from None


def _read_file(path: Path) -> dict[str, tuple[Any, str]]:
    """Return the settings of a YAML file with their origins: ``FILE line N``."""
    try:
        loader = yaml.SafeLoader(path.read_text("utf-8"))
        node = loader.get_single_node()
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise ConfigurationError(f"{path}: expected settings, one 'name: value' per line")
        found: dict[str, tuple[Any, str]] = {}
        for key_node, value_node in node.value:
            origin = f"{path} line {key_node.start_mark.line + 1}"
            setting = _FILE_KEYS.get(key_node.value) if isinstance(key_node, yaml.ScalarNode) else None
            if setting is None:
                named = repr(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "(not a name)"
                known = ", ".join(sorted(_FILE_KEYS))
                raise ConfigurationError(f"{origin}: unknown setting {named}", hint=f"known: {known}")
            if setting.name in found:
                raise ConfigurationError(f"{origin}: {setting.key} is set twice, first at {found[setting.name][1]}")
            try:
                found[setting.name] = (loader.construct_object(value_node, deep=True), origin)
            except (yaml.constructor.ConstructorError, ValueError, RecursionError):
                raise ConfigurationError(f"{origin}: {setting.key}: the value cannot be read") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}", hint="check --config") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}{_position(error)}") from None
    return found


def _position(error: Exception) -> str:
    """Return the position and cause of a YAML error. The line itself may contain the key, so it is never shown."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    where = f" line {mark.line + 1}" if mark is not None else ""
    return f"{where}: is not YAML{f': {problem}' if problem else ''}"
