"""The output that the documentation shows under commands, made by running them: ``python -m tests.support.outputs``.

A ``text`` block after ``<!-- output -->`` shows what the last command of the ``bash`` block before it prints. ``make
docs`` runs that command against an emulator with the traffic of the quick start and replaces the block. Tests compare
`shape`, because times, counts and sizes differ from run to run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from netra_otel_bridge.core.clock import NS_PER_S, SystemClock
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import Progress
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.state import StateStore
from tests.support.emulator import running_emulator

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
TRAFFIC = EmulatorOptions(port=0, seed=1, traces=200)
"""The traffic of the quick start."""
STATE = "followed"
"""The state directory of the output of ``status``."""
LETTER = DeadLetter("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "HTTP 400: not allowed", "{}")
_BLOCK = re.compile(
    r"^```bash\n(?P<commands>(?:(?!```).*\n)+)```\n\n<!-- output -->\n```text\n(?P<text>(?:(?!```).*\n)*)```$",
    re.MULTILINE,
)
_NUMBER = re.compile(r"-?\d[\d.,:]*(?: ?(?:ms|s|min|h|B|kB|MB|GB)\b)?")


def shown(page: str) -> Iterator[tuple[str, str]]:
    """Yield each command whose output a page shows, and that output."""
    for match in _BLOCK.finditer(page):
        yield match["commands"].splitlines()[-1], match["text"]


def shape(output: str) -> list[str]:
    """Return the lines of an output without its numbers, blank lines and padding."""
    lines = (" ".join(re.sub(r"[─━·]+", "-", _NUMBER.sub("0", line)).split()) for line in output.splitlines())
    return [line for line in lines if line]


def fill_state(directory: Path) -> None:
    """Make the state that the output of ``status`` shows: one destination accepts everything, the other is down."""
    clock = SystemClock()
    now_ns = clock.now_ns()
    with StateStore.open(directory, clock) as store:
        for destination, dead, problem in (
            ("otlp+grpc://localhost:4317", [LETTER], ""),
            ("otlp+http://localhost:4318", [], "connection refused"),
        ):
            lane = store.lane("https://netra.example", destination)
            lane.commit(Progress(delivered=1979, size_bytes=5_012_345, problem=problem), now_ns - 600 * NS_PER_S)
            lane.commit(Progress(dead_letters=dead, watermark_ns=now_ns - 90 * NS_PER_S), now_ns)


def main() -> None:
    """Replace each output in the documentation with what its command prints now."""
    with running_emulator(TRAFFIC) as netra, tempfile.TemporaryDirectory() as home:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("NETRA_", "OTEL_"))}
        environment = clean | {"NETRA_API_KEY": "any", "NETRA_OTLP_ENDPOINT": netra.endpoint}
        environment |= {"XDG_STATE_HOME": home, "PYTHONPATH": str(ROOT)}
        for page in PAGES:
            text = page.read_text("utf-8")
            with tempfile.TemporaryDirectory() as directory:
                fill_state(Path(directory) / STATE)
                made = _BLOCK.sub(partial(_replaced, directory=directory, environment=environment), text)
            if made != text:
                page.write_text(made, "utf-8")


def _replaced(match: re.Match[str], directory: str, environment: dict[str, str]) -> str:
    command = match["commands"].splitlines()[-1]
    words = command.replace("netra-otel-bridge", f"{sys.executable} -m netra_otel_bridge", 1)
    done = subprocess.run(
        ["bash", "-c", words], cwd=directory, env=environment, capture_output=True, text=True, check=True
    )
    address = environment["NETRA_OTLP_ENDPOINT"].removesuffix("/telemetry")
    printed = (done.stdout + done.stderr).replace(address, "http://127.0.0.1:9900").replace(f"{directory}/", "")
    lines = (line.rstrip() for line in printed.splitlines() if not line or line.strip())  # without a table's padding
    output = "\n".join(lines).strip("\n") + "\n"
    start, end = match.start("text") - match.start(), match.end("text") - match.start()
    return match[0][:start] + output + match[0][end:]


if __name__ == "__main__":
    main()
