"""Proof of arrival over a real Jaeger whose own Collector drops, samples and changes spans behind an OK."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.support import cli
from tests.support.jaeger import Jaeger
from tests.support.rig import Rig, running_rig

TRACES, SPANS = 60, 8
_PROCESSORS = """
processors:
  filter: {traces: {span: ['attributes["oracle.bool"] == false']}}
  attributes:
    include: {match_type: regexp, span_names: ["^call [0-7]"]}
    actions: [{key: oracle.text, action: delete}]
  tail_sampling:
    decision_wait: 1s
    policies:
    - {name: some, type: string_attribute, string_attribute: {key: netra.tenant_id, values: ["tenant-[0-9a]"], enabled_regex_matching: true}}
"""
_SAMPLED = "0123456789a"


class LyingJaeger(Jaeger):
    """A Jaeger behind processors that filter spans, sample traces and delete an attribute."""

    def _arguments(self, directory: Path) -> list[str]:
        arguments = super()._arguments(directory)
        config = directory / "config.yaml"
        text = config.read_text().replace(
            "receivers: [otlp], exporters",
            "receivers: [otlp], processors: [tail_sampling, filter, attributes], exporters",
        )
        config.write_text(text + _PROCESSORS)
        return arguments


def oracle_counts(rig: Rig) -> Counter[str]:
    """Return how many spans count as what, from what was issued."""
    counts: Counter[str] = Counter()
    for (trace_id, _), issues in rig.oracle.issued.items():
        normal = issues[-1].normal
        if trace_id[0] not in _SAMPLED or not normal["attributes"]["oracle.bool"][1]:
            counts["missing"] += 1
        else:
            counts["changed" if normal["name"][len("call ")] in "01234567" else "intact"] += 1
    return counts


def test_what_a_collector_did_is_counted_exactly(tmp_path: Path) -> None:
    """Every span that was filtered, sampled away or changed is found, and the findings name processor and attribute."""
    with LyingJaeger() as store, running_rig(tmp_path) as rig:
        rig.feed(TRACES, SPANS)
        replayed = rig.replay(store.otlp_grpc, "--state", str(rig.state))
        assert (replayed.code, replayed.json["destinations"][0]["delivered"]) == (0, TRACES * SPANS)
        result = cli.run(
            *("verify", *rig.range(), "--to", store.otlp_grpc, "--at", store.read_at),
            *("--json", "--state", str(rig.state)),
            env=rig.environment(),
        )
        wanted = oracle_counts(rig)
    (found,) = result.json["destinations"]
    assert result.code == 3
    assert min(wanted.values()) > 0
    assert {kind: found[kind] for kind in ("intact", "missing", "changed")} == dict(wanted)
    assert not any(found[kind] for kind in ("cut", "duplicated", "foreign", "hidden", "pending"))
    changed = [one for one in found["findings"] if one["kind"] == "changed"]
    assert [(one["what"], one["count"]) for one in changed] == [('"oracle.text" is gone', wanted["changed"])]
    hints = " ".join(one["hint"] for one in found["findings"])
    assert all(name in hints for name in ("`filter`", "`tail_sampling`", "`attributes`"))
