"""Speech: a voice message is transcribed, answered, and spoken."""

from __future__ import annotations

from netra_otel_bridge.emulator.conversations.shapes import (
    Call,
    Conversation,
    Said,
    as_input,
    indexed,
    python_chat,
    turn,
    used,
)

_HEARD = "Hi, I am at the bus stop in Kotor and the bus to Dubrovnik has just left without me. When is the next one?"
_ANSWER = "The next bus to Dubrovnik leaves at 14:30 from the same stop. Bring your passport: it crosses the border."


def _voice() -> Conversation:
    transcript: list[Said] = [("Transcribed Text", _HEARD)]
    transcribed = Call(
        name="deepgram.transcribe_url",
        takes=0.4,
        attributes={
            "netra.instrumentation.name": "deepgram",
            "netra.span.type": "GENERATION",
            "gen_ai.request.model": "nova-3",
            "gen_ai.request.language": "en",
            "gen_ai.request.url": "https://voice.example/messages/4711.ogg",
            "gen_ai.audio.duration": 7.4,
            **indexed("gen_ai.completion", transcript),
            "input": "",
            "output": as_input(transcript),
        },
    )
    prompt: list[Said] = [
        (
            "system",
            "You answer voice messages of bus travellers in two sentences. Next departures: Dubrovnik 14:30, 18:00.",
        ),
        ("user", _HEARD),
    ]
    chat = python_chat(
        "openai", ("gpt-4o-mini", "gpt-4o-mini-2024-07-18"), prompt, [("assistant", _ANSWER)], "stop", used(74, 31)
    )
    spoken = Call(
        name="elevenlabs.create_speech",
        takes=0.5,
        attributes={
            "netra.instrumentation.name": "elevenlabs",
            "gen_ai.system": "ElevenLabs",
            "gen_ai.request.type": "speech",
            "gen_ai.request.model": "eleven_multilingual_v2",
            "gen_ai.request.voice_id": "calm-traveller",
            "gen_ai.usage.prompt.character_count": len(_ANSWER),
            **indexed("gen_ai.prompt", [("Input", _ANSWER)]),
            "input": as_input([("Input", _ANSWER)]),
            "output": "",
        },
    )
    return Conversation(service="voice-desk", root=turn("voice-message", _HEARD, _ANSWER, transcribed, chat, spoken))


CONVERSATIONS = (_voice(),)
