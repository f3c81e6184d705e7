"""The harness that builds real servers: once, whole or not at all, and never silently left out in CI."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import backends
from tests.support.backends import Backend, binary_or_skip, build

BACKEND = Backend("thing", "1.2.3", "example.com/thing", "./cmd/thing", "a second")


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``go`` that notes how it was called, and writes the output it was asked for unless told to fail."""
    calls = tmp_path / "calls"
    script = tmp_path / "bin" / "go"
    script.parent.mkdir()
    script.write_text(
        f"""#!/bin/sh
echo "$PWD $*" >> {calls}
if [ "$1" = mod ]; then echo '{{"Dir": "{tmp_path}"}}'; exit 0; fi
echo half > "$3"
if [ -e {tmp_path}/broken ]; then exit 1; fi
"""
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_a_backend_is_built_once_in_its_modules_own_folder(go: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second time it is taken from the cache; what is done, and how long it takes, is said."""
    binary = build(BACKEND)
    assert binary == go / "cache" / "netra-otel-bridge" / "backends" / "thing-1.2.3" / "thing"
    assert binary.exists()
    said = capsys.readouterr().err
    assert "usually takes a second" in said
    calls = (go / "calls").read_text().splitlines()
    assert calls[0].endswith("mod download -json example.com/thing@v1.2.3")
    assert calls[1].startswith(f"{go} build -o ")
    assert build(BACKEND) == binary
    assert len((go / "calls").read_text().splitlines()) == 2


def test_a_build_that_fails_leaves_nothing_behind(go: Path) -> None:
    """Half a binary is never taken for a whole one."""
    (go / "broken").touch()
    with pytest.raises(subprocess.CalledProcessError):
        build(BACKEND)
    assert not [path for path in (go / "cache").rglob("*") if path.is_file()]


def test_without_go_a_test_is_skipped_but_fails_in_ci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is printed either way."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(backends.shutil, "which", lambda name: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Go"):
        binary_or_skip(BACKEND)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no Go"):
        binary_or_skip(BACKEND)


def test_a_name_that_is_no_backend_is_answered_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m tests.support.backends NAME``."""
    assert backends.main(["tempest"]) == 2
    assert "jaeger" in capsys.readouterr().err
