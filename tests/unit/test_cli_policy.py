"""Commands say what the privacy policy keeps, by key and never by value, and say it when a hash has no key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.state import dead_letters
from tests.support.cli import CANARY, Result, environment, run
from tests.support.emulator import ThreadedEmulator, running_emulator

SECRET = "the-hash-key-1234"
WARNING = "user: hash has no key"


@pytest.fixture(scope="module")
def shared() -> Iterator[ThreadedEmulator]:
    options = EmulatorOptions(port=0, seed=3, traces=12, spans_per_trace=5, api_key=CANARY)
    with running_emulator(options) as emulator:
        yield emulator


@pytest.fixture
def netra(shared: ThreadedEmulator) -> Iterator[ThreadedEmulator]:
    """Serve a Netra without faults; faults that a test sets end with it."""
    yield shared
    shared.set_faults()


def replay(netra: ThreadedEmulator, to: Path, *more: str, **env: str) -> Result:
    return run("replay", "--since", "25h", "--to", f"otlp-file:{to}", *more, env=environment(netra.endpoint, **env))


def test_config_show_says_what_a_drop_keeps() -> None:
    """The table is followed by the number of names that are kept in each namespace, and by what is added to them."""
    env = environment(NETRA_BRIDGE_CONTENT="drop", NETRA_BRIDGE_CONTENT_ALLOW="netra.custom.plan,shop.*")
    said = run("config", "show", env=env).out
    assert "gen_ai " in said
    assert "content_allow adds netra.custom.plan, shop.*" in said
    assert "exception messages, stack traces, status messages: drop" in said
    keeps = run("config", "show", "--json", env=env).json["content"]["keeps"]
    assert keeps["gen_ai"] > 30
    assert "text is kept" not in run("config", "show", env=environment()).out
    assert "keeps" not in run("config", "show", "--json", env=environment()).json["content"]


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"NETRA_BRIDGE_PII": "drop-content"}, "of spans with PII, text is kept"),
        ({"NETRA_BRIDGE_EXCEPTIONS": "drop"}, "exception messages, stack traces, status messages: drop"),
        ({"NETRA_BRIDGE_CONTENT": "redact", "NETRA_BRIDGE_REDACT": "a"}, "what the expressions do not match is kept"),
        ({"NETRA_BRIDGE_USER": "hash"}, WARNING),
    ],
)
def test_config_show_says_what_the_other_policies_do(env: dict[str, str], expected: str) -> None:
    """Each policy is said in words below the table."""
    assert expected in run("config", "show", env=environment(**env)).out


@pytest.mark.parametrize("as_file", [False, True])
def test_the_key_of_hashes_is_a_secret(as_file: bool, netra: ThreadedEmulator, tmp_path: Path) -> None:
    """The key comes from a variable or a file, makes the hashes, and is in no output, log or state."""
    (tmp_path / "key").write_text(SECRET + "\n")
    env = {"NETRA_BRIDGE_USER": "hash"}
    env |= (
        {"NETRA_BRIDGE_USER_HASH_KEY_FILE": str(tmp_path / "key")}
        if as_file
        else {"NETRA_BRIDGE_USER_HASH_KEY": SECRET}
    )
    shown = run("config", "show", "--json", env=environment(**env))
    assert shown.json["user_hash_key"]["value"] == "***"
    with_key = replay(netra, tmp_path / "a.jsonl", "-v", "--state", str(tmp_path / "state"), **env)
    without = replay(netra, tmp_path / "b.jsonl", NETRA_BRIDGE_USER="hash")
    assert (with_key.code, without.code) == (0, 0)
    assert (tmp_path / "a.jsonl").read_text() != (tmp_path / "b.jsonl").read_text()
    assert all(SECRET not in text for text in (shown.out, shown.err, with_key.out, with_key.err))
    files = [file for file in (tmp_path / "state").rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]
    assert WARNING not in with_key.err
    assert without.err.count(WARNING) == 1


def test_a_key_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """A key that cannot be read stops the command: hashes without it would be others."""
    env = environment(NETRA_BRIDGE_USER="hash", NETRA_BRIDGE_USER_HASH_KEY_FILE=str(tmp_path / "none"))
    result = run("config", "show", env=env)
    assert result.code == 78
    assert "NETRA_BRIDGE_USER_HASH_KEY_FILE" in result.said


def test_a_dry_run_counts_keys_and_shows_no_value(netra: ThreadedEmulator, tmp_path: Path) -> None:
    """Kept and dropped keys are listed with counts, from the traces that were read anyway; nothing is sent."""
    to, drop = tmp_path / "out.jsonl", {"NETRA_BRIDGE_CONTENT": "drop"}
    result = replay(netra, to, "--dry-run", "--json", **drop)
    keys = result.json["keys"]
    assert keys["kept"]["gen_ai.request.model"] > 0
    assert keys["kept"]["service.name"] > 0
    assert keys["dropped"]["gen_ai.prompt.N.content"] > 0
    said = replay(netra, to, "--dry-run", **drop).out
    assert "kept, by key, in the 12 traces that were read: " in said
    assert f"gen_ai.prompt.N.content {keys['dropped']['gen_ai.prompt.N.content']}" in said
    assert "keys" not in replay(netra, to, "--dry-run", "--json").json
    assert not to.exists()


@pytest.mark.parametrize(("policy", "stored"), [("drop", False), ("keep", True)])
def test_an_item_that_cannot_be_read_is_stored_as_the_policy_says(policy: str, stored: bool, tmp_path: Path) -> None:
    """The dead letter of an item that is no span has its JSON only if all content is kept."""
    with running_emulator(EmulatorOptions(port=0, seed=1, traces=30, spans_per_trace=30, api_key=CANARY)) as netra:
        netra.set_faults("bad-item=1")
        state = str(tmp_path / "s")
        result = replay(
            netra, tmp_path / "o.jsonl", "--state", state, "--json", "--window", "7d", NETRA_BRIDGE_CONTENT=policy
        )
    assert result.json["destinations"][0]["dead_lettered"] == 2
    documents = [one.letter.document for one in dead_letters(state)]
    assert (len(documents), any(documents)) == (2, stored)
