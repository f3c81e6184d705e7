"""Inflation piece by piece: the same bytes as at once, never more than the cap, never an incomplete body."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.core.errors import NetraResponseTooLarge
from netra_otel_bridge.source import body
from netra_otel_bridge.source.body import CutAnswer, Inflater


def inflate(packed: bytes, *, encoding: str = "gzip", piece: int = 1 << 16, cap: int = 1 << 20) -> bytes:
    inflater = Inflater(encoding, cap)
    for start in range(0, len(packed), piece):
        inflater.feed(packed[start : start + piece])
    return inflater.finish()


@given(
    st.binary(max_size=300) | st.integers(0, 5000).map(lambda size: b"a" * size),
    st.sampled_from(["gzip", "deflate"]),
    st.integers(1, 40),
    st.integers(1, 600),
)
def test_inflates_whatever_the_pieces(data: bytes, encoding: str, piece: int, step: int) -> None:
    """The whole stream is read, however it is cut into pieces and however little is inflated at a time."""
    packed = gzip.compress(data) if encoding == "gzip" else zlib.compress(data)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(body, "_STEP_BYTES", step)
        assert inflate(packed, encoding=encoding, piece=piece) == data


@given(st.binary(max_size=200), st.data())
def test_a_cut_stream_is_never_whole(data: bytes, draw: st.DataObject) -> None:
    """Any proper prefix of a stream is rejected."""
    packed = gzip.compress(data)
    with pytest.raises(CutAnswer):
        inflate(packed[: draw.draw(st.integers(0, len(packed) - 1))])


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_several_members_are_one_body(piece: int) -> None:
    """A gzip body may be several streams in a row (RFC 1952, 2.2); if the last one is truncated, so is the body."""
    packed = gzip.compress(b"one ") + gzip.compress(b"two")
    assert inflate(packed, piece=piece) == b"one two"
    with pytest.raises(CutAnswer):
        inflate(packed[:-3], piece=piece)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("rest", [b"\0", b"garbage", b"\x1f\x8b"])
def test_bytes_after_the_end(encoding: str, rest: bytes) -> None:
    """Bytes after the end of a stream that do not start another stream are a damaged body."""
    packed = gzip.compress(b"data") if encoding == "gzip" else zlib.compress(b"data")
    with pytest.raises(CutAnswer):
        inflate(packed + rest, encoding=encoding)


def test_the_cap_is_exact() -> None:
    """A body of exactly the cap passes, one byte more does not, over all members together."""
    packed = gzip.compress(b"x" * 600) + gzip.compress(b"y" * 400)
    assert len(inflate(packed, cap=1000)) == 1000
    with pytest.raises(NetraResponseTooLarge):
        inflate(packed, cap=999)
