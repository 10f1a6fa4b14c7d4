"""The law of lengths: what is read on the loop, where heartbeats come from, is short."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sie_schemas.items import Item
from sie_schemas.jobs import JOB_ENCODER, Job
from sie_worker.forms.lengths import characters_of, is_short

TEXTS = st.lists(st.text(max_size=40), min_size=1, max_size=20)


def job(texts: list[str], query: str | None, instruction: str | None) -> Job:
    fields: dict[str, Any] = {
        "job_id": "r.0",
        "request_id": "r",
        "first_item": 0,
        "operation": "encode" if query is None else "score",
        "log_id": "1" * 32,
        "epoch": 1,
        "model_id": "m",
        "profile": "default",
        "model_revision": "0" * 64,
        "reply_to": "sie.result.g",
        "deadline": 1.0,
        "published_at": 0.0,
    }
    return Job(
        **fields,
        items=tuple(Item(text=text) for text in texts),
        query=None if query is None else Item(text=query),
        instruction=instruction,
    )


@given(
    TEXTS,
    st.none() | st.text(max_size=400),
    st.none() | st.text(max_size=400),
    st.integers(0, 3000),
)
def test_no_more_is_read_on_the_loop_than_its_bound(
    texts: list[str], query: str | None, instruction: str | None, characters_max: int
) -> None:
    """A query of a megabyte beside 64 words once held a worker's loop for a minute, and it was
    taken for dead."""
    found = job(texts, query, instruction)
    read = [f"{instruction or ''}{query or ''}{text}" for text in texts]
    assert characters_of(found) == sum(map(len, read))
    size = len(JOB_ENCODER.encode(found))
    if is_short(found, size, characters_max=characters_max):
        assert sum(map(len, read)) <= characters_max
