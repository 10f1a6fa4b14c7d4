"""Laws of windows: a long text is read whole, and each token once, far from where it was cut."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Encoding

from sie_server.backends.extraction.windows import TextTokens

SPECIAL = 1000


def encoding(before: int, count: int, behind: int) -> Encoding:
    """A text of so many tokens, numbered from 0, between special ones."""
    mask = [1] * before + [0] * count + [1] * behind
    ids = [SPECIAL] * before + [*range(count)] + [SPECIAL + 1] * behind
    told: dict[str, Any] = {
        "special_tokens_mask": mask,
        "ids": ids,
        "type_ids": [-each for each in ids],
    }
    offsets = [(0, 0)] * before + [(at, at + 1) for at in range(count)] + [(0, 0)] * behind
    return cast("Encoding", SimpleNamespace(**told, offsets=offsets, tokens=[*map(str, ids)]))


@given(
    before=st.integers(0, 2),
    count=st.integers(0, 60),
    behind=st.integers(0, 2),
    room=st.integers(1, 20),
)
def test_each_token_is_taken_once_in_order_from_a_window_that_the_model_reads(
    before, count, behind, room
):
    text = TextTokens(encoding(before, count, behind))
    tokens_max = room + before + behind
    windows = text.windows(tokens_max)
    taken = [token for window in windows for token in window.ids[window.first : window.last]]
    assert taken == [*range(count)]
    assert [int(token) for token in text.tokens] == taken
    for window in windows:
        assert len(window.ids) <= tokens_max
        assert window.type_ids == [-each for each in window.ids]
        assert window.ids[:before] == [SPECIAL] * before
        assert window.ids[len(window.ids) - behind :] == [SPECIAL + 1] * behind
    assert count > room or len(windows) == min(1, count)
    with pytest.raises(ValueError, match="no room"):
        text.windows(before + behind)


@given(count=st.integers(1, 80), room=st.integers(4, 20))
def test_no_window_has_a_token_farther_from_a_cut_than_the_one_that_it_is_taken_from(count, room):
    windows = TextTokens(encoding(1, count, 1)).windows(room + 2)

    def depth(ids: list[int], token: int) -> int:
        """The distance of a token from where the text was cut; its own ends are no cuts."""
        left = token - ids[0] if ids[0] else count
        right = ids[-1] - token if ids[-1] != count - 1 else count
        return min(left, right)

    own = [window.ids[1:-1] for window in windows]
    for window, ids in zip(windows, own, strict=True):
        for token in window.ids[window.first : window.last]:
            others = [depth(other, token) for other in own if token in other]
            assert depth(ids, token) >= max(others) - 1
