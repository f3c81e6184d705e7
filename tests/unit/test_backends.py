"""The harness builds real servers once, whole or not at all, and CI never silently skips one."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import backends
from tests.support.backends import CannotBuild, GoBackend, PythonBackend, binary_or_skip, build
from tests.support.waiting import DEADLINE_S

BACKEND = GoBackend("thing", "1.2.3", "a second", "example.com/thing", "./cmd/thing")


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a ``go`` that records its calls, and creates the requested output unless told to fail."""
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
    """The second time it comes from the cache; the work, and how long it takes, is announced."""
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
    """Half a binary is never used as a whole one."""
    (go / "broken").touch()
    with pytest.raises(subprocess.CalledProcessError):
        build(BACKEND)
    assert not [path for path in (go / "cache").rglob("*") if path.is_file()]


def test_without_go_a_test_is_skipped_but_fails_in_ci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either way, the reason is printed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(backends.shutil, "which", lambda name: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Go"):
        binary_or_skip(BACKEND)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no Go"):
        binary_or_skip(BACKEND)


def test_a_name_that_is_no_backend_is_answered_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m tests.support.backends NAME`` lists the names that exist."""
    assert backends.main(["tempest"]) == 2
    assert "jaeger" in capsys.readouterr().err


def test_a_release_of_go_is_found_on_the_path_or_in_debians_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``go1.19`` on the path is preferred to what ``dpkg`` lists; without either there is no such Go, whatever ``go`` there is."""
    programs = {
        "go": "exit 0",
        "dpkg": f"echo /.; echo {tmp_path}/lib/go-1.19/bin/gofmt; echo {tmp_path}/lib/go-1.19/bin/go",
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert backends.find_go("") == str(tmp_path / "go")
    assert backends.find_go("1.19") == f"{tmp_path}/lib/go-1.19/bin/go"
    (tmp_path / "dpkg").write_text("#!/bin/sh\nexit 1\n")
    assert backends.find_go("1.19") is None
    (tmp_path / "go1.19").symlink_to(tmp_path / "go")
    assert backends.find_go("1.19") == str(tmp_path / "go1.19")


def test_a_backend_is_built_with_its_own_release_of_go_and_flags(go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ``GOROOT`` of another Go is not passed on."""
    (go / "bin" / "go").rename(go / "bin" / "go1.19")
    script = go / "bin" / "go1.19"
    script.write_text(script.read_text().replace('echo "$PWD $*"', 'echo "$PWD $* [$GOROOT]"').replace('"$3"', '"$4"'))
    monkeypatch.setenv("GOROOT", "/elsewhere")
    build(replace(BACKEND, go="1.19", flags=("-mod=readonly",)))
    download, built = (go / "calls").read_text().splitlines()
    assert download.endswith("[]")
    assert built.startswith(f"{go} build -mod=readonly -o ")
    assert built.endswith("./cmd/thing []")


def test_make_builds_what_it_can_and_fails_only_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing tool is named, with its Debian package."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(backends.shutil, "which", lambda name: None)
    monkeypatch.delenv("CI", raising=False)
    assert backends.main(["jaeger", "tempo"]) == 0
    assert "apt-get install golang-1.19-go" in capsys.readouterr().err
    monkeypatch.setenv("CI", "true")
    assert backends.main(["tempo"]) == 1


def test_a_python_program_is_installed_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The program gets an environment of its own, and starts with the variables that it is given, in its own process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a cache"))
    python = tmp_path / "python"
    python.write_text(
        f"""#!/bin/sh
echo "$*" >> {tmp_path}/calls
case "$*" in *venv*)
  mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; printf '#!/bin/sh\\necho $$ $NAME "$@"' > "$4/bin/tool"
  chmod +x "$4/bin/tool";;
esac
if [ -e {tmp_path}/broken ]; then echo "no network" >&2; exit 1; fi
"""
    )
    python.chmod(0o755)
    monkeypatch.setattr(backends.sys, "executable", str(python))
    thing = PythonBackend("thing", "1.2.3", "a second", "a-thing", "tool serve")
    (tmp_path / "broken").touch()
    with pytest.raises(CannotBuild, match=r"thing 1\.2\.3 could not be installed under .*: no network"):
        build(thing)
    assert not thing.binary.exists()
    (tmp_path / "broken").unlink()
    binary = build(thing)
    assert binary == tmp_path / "a cache" / "netra-otel-bridge" / "backends" / "thing-1.2.3" / "thing"
    assert (
        (tmp_path / "calls")
        .read_text()
        .splitlines()[-1]
        .endswith("-m pip install --quiet --disable-pip-version-check a-thing==1.2.3")
    )
    capfd.readouterr()
    process = subprocess.Popen([binary, "NAME=value"])
    process.wait(DEADLINE_S)
    assert capfd.readouterr().out.split() == [str(process.pid), "value", "serve"]
