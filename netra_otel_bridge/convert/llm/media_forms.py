"""Read an image, audio, video or file, in the form of a model provider, as a part of the neutral model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from netra_otel_bridge.convert.llm.call import Part, media, text

Item = Mapping[str, Any]
Reader = Callable[[Item], Part | None]
MIMES = ("mime_type", "mimeType", "mediaType", "media_type")
_ADDRESSES = ("data:", "http:", "https:", "gs:", "s3:", "file:")
_CLASSES = ("image", "audio", "video")
_NO_MEDIA_CLASS = "document"


def first_of(item: Item, names: Iterable[str]) -> Any:
    """Return the first value that is there under one of the names."""
    for name in names:
        value = item.get(name)
        if value is not None:
            return value
    return None


def joined_words(items: list[Any]) -> str:
    """Return the texts of a list of parts."""
    return "\n".join(item["text"] for item in items if isinstance(item, dict) and isinstance(item.get("text"), str))


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(_ADDRESSES)


def media_part(item: Item, modality: str | None, *names: str) -> Part | None:
    """Return an image, audio, video or file. ``names`` are the fields that hold it, as a text or an object."""
    inner = first_of(item, names)
    source = inner if isinstance(inner, dict) else item
    mime = first_of(source, MIMES) or first_of(item, MIMES)
    form = source.get("format")
    if mime is None and modality is not None and isinstance(form, str):
        mime = f"{modality}/{form}"
    data = first_of(source, ("file_data", "data", "bytes", "base64"))
    uri = first_of(source, ("file_url", "url", "uri"))
    if isinstance(inner, str):
        uri, data = (inner, data) if _is_address(inner) or mime is None else (uri, inner)
    if _is_address(data):
        uri, data = data, None
    return media(
        modality or _modality(mime),
        uri=uri,
        data=data,
        file_id=source.get("file_id") or item.get("file_id") or (source.get("id") if source is inner else None),
        mime=mime,
    )


def image_part(item: Item) -> Part | None:
    """Read an image of any provider."""
    return media_part(item, "image", "image_url", "source", "image", "url")


def audio_part(item: Item) -> Part | None:
    """Read audio of any provider."""
    return media_part(item, "audio", "input_audio", "audio", "source")


def video_part(item: Item) -> Part | None:
    """Read a video of any provider."""
    return media_part(item, "video", "video_url", "source", "video", "url")


def file_part(item: Item) -> Part | None:
    """Read a file or document of any provider, which may be text."""
    inner = first_of(item, ("file", "source"))
    if isinstance(inner, dict) and (told := _told_document(inner)) is not None:
        return told
    modality = item.get("modality")
    known = modality if isinstance(modality, str) and modality in _CLASSES else None
    return media_part(item, known, "file", "source") or own_media(item)


def _told_document(source: Item) -> Part | None:
    """Return the text of Anthropic's document that is no file."""
    if source.get("type") == "text" and isinstance(source.get("data"), str):
        return text(source["data"])
    if source.get("type") == "content":
        content = source.get("content")
        words = joined_words(content) if isinstance(content, list) else content
        return text(words) if isinstance(words, str) and words else None
    return None


def _modality(mime: Any) -> str:
    kind = mime.partition("/")[0] if isinstance(mime, str) else ""
    return kind if kind in _CLASSES else _NO_MEDIA_CLASS


def own_media(item: Item) -> Part | None:
    """Return a blob, address or file that is already in the form of the conventions."""
    modality = item.get("modality")
    return media(
        modality if isinstance(modality, str) and modality else _modality(item.get("mime_type")),
        uri=item.get("uri"),
        data=item.get("content"),
        file_id=item.get("file_id"),
        mime=item.get("mime_type"),
    )


def file_data_part(inner: Item) -> Part | None:
    """Read Gemini's ``fileData``."""
    mime = first_of(inner, MIMES)
    return media(_modality(mime), uri=first_of(inner, ("file_uri", "fileUri")), mime=mime)


def bedrock_media(modality: str) -> Reader:
    """Return the reader of Bedrock's ``image``, ``document``, ``video`` or ``audio``."""

    def read(inner: Item) -> Part | None:
        source, form = inner.get("source"), inner.get("format")
        if not isinstance(source, dict):
            return None
        if isinstance(source.get("text"), str):
            return text(source["text"])
        place = source.get("s3Location")
        family = "application" if modality == _NO_MEDIA_CLASS else modality
        found = media(
            modality,
            uri=place.get("uri") if isinstance(place, dict) else None,
            data=source.get("bytes"),
            mime=f"{family}/{form}" if isinstance(form, str) else None,
        )
        return found or {**inner, "type": f"bedrock_{modality}"}

    return read
