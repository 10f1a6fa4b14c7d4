"""The law of lengths: what is read on the loop, where heartbeats come from, is short."""

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from sie_schemas.items import Item, Media
from sie_schemas.jobs import Job
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


@example(["a"] * 20, "q" * 400, None, 2000)
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
    assert is_short(found, characters_max=characters_max) is (sum(map(len, read)) <= characters_max)


@given(st.lists(st.booleans(), min_size=1, max_size=4))
def test_a_job_with_an_image_in_any_place_is_not_read_on_the_loop(are_images: list[bool]) -> None:
    found = job(["a"], None, None)
    items = tuple(
        Item(images=(Media(data=b"x", format="png"),)) if is_image else Item(text="a")
        for is_image in are_images
    )
    found = structs.replace(found, items=items)
    assert is_short(found, characters_max=1000) is not any(are_images)
