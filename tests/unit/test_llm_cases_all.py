"""What holds for every span of every recording, whatever it is, in each profile."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge.convert.spans import Profile
from netra_otel_bridge.core.attribute_names import NOTES
from tests.support.genai_schema import violations
from tests.support.llm_cases import PROFILES, RECORDINGS, converted, found, names, recorded, recorded_events

ENRICHED: tuple[Profile, ...] = ("genai", "openinference", "both")
each_recording = pytest.mark.parametrize("recording", RECORDINGS)


def is_kept(value: Any, there: Any, profile: Profile) -> bool:
    """Return whether a recorded value is there, of the same type. Only ``raw`` keeps numbers that are none."""
    if isinstance(value, float) and not math.isfinite(value):
        return isinstance(there, str) if profile != "raw" else repr(there) == repr(value)
    return type(value) is type(there) and bool(value == there)


def is_bytes(recording: str, name: str, key: str) -> bool:
    """Return whether the recording has bytes there, which JSON writes in base64."""
    return (recording, name, key) == ("field-12-odd-keys", "odd", "raw bytes")


@pytest.mark.parametrize("profile", PROFILES)
@each_recording
def test_recorded_attributes_stay_as_they_were(recording: str, profile: Profile) -> None:
    """Every recorded attribute is there in each profile with its value and type."""
    for name in names(recording):
        there = found(recording, name, profile)
        lost = {
            key: value
            for key, value in recorded(recording, name).items()
            if not is_bytes(recording, name, key) and not is_kept(value, there.get(key), profile)
        }
        assert lost == {}, name


@pytest.mark.parametrize("profile", PROFILES)
@each_recording
def test_recorded_events_stay_as_they_were(recording: str, profile: Profile) -> None:
    """Every event is there with its attributes, also where messages were made of it."""
    for name in names(recording):
        events = converted(recording, name, profile).events
        assert [dict(event.attributes or {}) for event in events] == recorded_events(recording, name), name


@each_recording
def test_raw_adds_only_notes(recording: str) -> None:
    """Profile ``raw`` has what was recorded, and notes about what could not be expressed."""
    for name in names(recording):
        added = found(recording, name, "raw").keys() - recorded(recording, name).keys()
        assert {key for key in added if not key.startswith("netra.bridge.")} == set(), name


@each_recording
def test_both_is_the_union_of_its_profiles(recording: str) -> None:
    """Profile ``both`` has the attributes of the two others, and no more."""
    for name in names(recording):
        genai, openinference, both = (found(recording, name, profile) for profile in ENRICHED)
        assert _without_notes(both) == _without_notes({**genai, **openinference}), name
        assert set(both.get(NOTES, ())) == {*genai.get(NOTES, ()), *openinference.get(NOTES, ())}, name


@each_recording
def test_what_is_written_keeps_the_rules_of_genai(recording: str) -> None:
    """What conversion adds is valid in the conventions of GenAI 1.41."""
    for name in names(recording):
        own, there = recorded(recording, name), found(recording, name, "genai")
        assert violations({key: value for key, value in there.items() if key not in own}) == [], name


@pytest.mark.parametrize("profile", ENRICHED)
@each_recording
def test_no_key_that_is_written_is_the_beginning_of_another(recording: str, profile: Profile) -> None:
    """No attribute that conversion adds stands where another's name goes on, because stores of nested objects refuse it."""
    for name in names(recording):
        attributes = found(recording, name, profile)
        added = attributes.keys() - recorded(recording, name).keys()
        beginnings = {key[:dot] for key in attributes for dot in range(len(key)) if key[dot] == "."}
        assert added & beginnings == set(), name


@each_recording
def test_inputs_and_outputs_are_those_of_openinference(recording: str) -> None:
    """A recorded input or output is a value of OpenInference with its true type, and JSON is named only where it is JSON."""
    for name in names(recording):
        attributes, plain = found(recording, name, "openinference"), recorded(recording, name)
        for side in ("input", "output"):
            if plain.get(side):
                assert attributes.get(f"{side}.value"), (name, side)
            if attributes.get(f"{side}.mime_type") == "application/json":
                json.loads(attributes[f"{side}.value"])


def test_every_recording_has_its_table() -> None:
    """Each recording is named in a table of right values."""
    tables = "".join(
        file.read_text() for file in Path(__file__).parent.glob("test_llm_cases_*.py") if file != Path(__file__)
    )
    assert [recording for recording in RECORDINGS if recording not in tables] == []


def _without_notes(attributes: dict[str, Any]) -> dict[str, str]:
    return {key: repr(value) for key, value in attributes.items() if key != NOTES}
