"""Laws of frames: whole bodies, in order, however the bytes were cut."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sie_schemas.ipc import FRAME_HEADER
from sie_schemas.ipc.frames import Frames, FrameTooLong

BODIES = st.lists(st.binary(max_size=40), max_size=8)


@given(BODIES, st.binary(max_size=3), st.lists(st.integers(0, 400), max_size=12))
@example([b"x" * 40, b"y", b"z"], b"", [30, 44, 49])
def test_a_body_comes_with_its_last_byte_however_the_bytes_were_cut(bodies, rest, cuts) -> None:
    """A body that waits for the frame behind it is a batch that is answered with the next one."""
    sent = b"".join(FRAME_HEADER.pack(len(body)) + body for body in bodies) + rest
    ends = [*accumulate(FRAME_HEADER.size + len(body) for body in bodies)]
    places = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    frames = Frames()
    came: list[bytes] = []
    for start, stop in pairwise(places):
        came += frames.feed(sent[start:stop])
        assert came == bodies[: sum(end <= stop for end in ends)]
    assert frames.partial is bool(rest)


@given(st.integers(1, 100), st.integers(0, 3))
def test_a_frame_above_the_limit_is_refused_by_its_header_alone(limit, cut) -> None:
    frames = Frames(bytes_max=limit)
    assert frames.feed(FRAME_HEADER.pack(limit) + bytes(limit)) == [bytes(limit)]
    header = FRAME_HEADER.pack(limit + 1)
    assert frames.feed(header[:cut]) == []
    with pytest.raises(FrameTooLong):
        frames.feed(header[cut:])
