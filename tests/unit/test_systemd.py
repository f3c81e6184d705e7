"""The unit file: systemd accepts it, and it agrees with the program."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from netra_otel_bridge.config.settings import SETTINGS
from netra_otel_bridge.core.errors import ConfigurationError, UsageError
from tests.support.cli import ROOT

FOLDER = ROOT / "examples" / "systemd"
UNIT = FOLDER / "netra-otel-bridge.service"
GRACE_S = 10


def settings() -> dict[str, list[str]]:
    """Return the unit's settings by name, each with its values in order."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text("utf-8"), flags=re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """systemd knows each section, setting and value; only the program's path differs here."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    text, changed = re.subn(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text("utf-8"), flags=re.MULTILINE)
    assert changed == 1
    (tmp_path / UNIT.name).write_text(text)
    done = subprocess.run([analyze, "verify", tmp_path / UNIT.name], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_exit_codes_that_need_somebody_are_not_tried_again() -> None:
    """Wrong flags and a wrong configuration are not retried. For a new key the service itself waits."""
    codes = {str(error.exit_code) for error in (UsageError, ConfigurationError)}
    assert set(settings()["RestartPreventExitStatus"][0].split()) == codes
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| .* \| (yes|no) \|$", page, flags=re.MULTILINE)
    assert {code for code, again in rows if again == "no"} == codes | {"0"}


def test_it_is_given_longer_to_stop_than_it_takes() -> None:
    """systemd waits longer than the bridge's own grace period before it kills."""
    assert int(settings()["TimeoutStopSec"][0]) >= 2 * GRACE_S


def test_the_state_is_its_own_and_the_key_in_no_environment() -> None:
    """The state directory is private, and the key is passed as a credential, not in the environment."""
    unit = settings()
    assert unit["StateDirectoryMode"] == ["0700"]
    assert unit["ExecStart"][0].endswith("netra-otel-bridge run --state ${STATE_DIRECTORY}")
    credential = unit["LoadCredential"][0].partition(":")[0]
    assert unit["Environment"] == [f"NETRA_API_KEY_FILE=%d/{credential}"]
    assert "NETRA_API_KEY=" not in UNIT.read_text("utf-8")


def test_the_variables_in_its_files_are_the_programs() -> None:
    """Each variable is one of the program's: a misspelled one would be ignored silently."""
    known = {setting.variable for setting in SETTINGS}
    sample = (FOLDER / "netra-otel-bridge.env").read_text("utf-8")
    named = set(re.findall(r"^#?([A-Z][A-Z_]+)=", sample, flags=re.MULTILINE)) | {"NETRA_API_KEY_FILE"}
    assert len(named) > 3
    assert named <= known
