"""The law of revisions: all that can change an answer moves them, and nothing else does."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sie_schemas.documents import admit_document
from sie_schemas.revisions import model_revision

NAMES = st.sampled_from(["default", "fast", "small"])
PROFILE = st.fixed_dictionaries(
    {"backend": st.sampled_from(["transformer", "echo"])},
    optional={
        "dtype": st.sampled_from(["fp32", "bf16"]),
        "batch_cost_max": st.integers(1, 9999),
        "max_sequence_length": st.integers(1, 512),
        "options": st.dictionaries(st.sampled_from(["pooling", "x"]), st.integers(0, 9)),
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "model_id": st.sampled_from(["m", "org/m"]),
        "source": st.fixed_dictionaries(
            {
                "type": st.just("hub"),
                "id": st.sampled_from(["org/w", "org/v"]),
                "revision": st.sampled_from(["0" * 40, "1" * 40]),
            }
        ),
        "tasks": st.sampled_from([{"encode": {}}, {"score": {}}, {"extract": {"labels": ["a"]}}]),
        "profiles": st.dictionaries(NAMES, PROFILE).flatmap(
            lambda others: PROFILE.map(lambda own: {**others, "default": own})
        ),
    },
    optional={
        "pool": st.sampled_from(["default", "night"]),
        "aliases": st.lists(st.sampled_from(["a", "b"]), max_size=2, unique=True),
        "description": st.text(max_size=5),
    },
)
_MOVES = ("model_id", "source", "tasks")


def served(document: dict[str, Any], profile: str) -> Any:
    """All that an answer of a profile depends on, as a person would list it."""
    return profile, document["profiles"][profile], [document[name] for name in _MOVES]


@given(DOCUMENTS, DOCUMENTS)
def test_two_profiles_have_one_revision_exactly_if_they_answer_alike(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = admit_document("model", one), admit_document("model", other)
    for left in first["profiles"]:
        for right in second["profiles"]:
            alike = served(first, left) == served(second, right)
            assert (model_revision(first, left) == model_revision(second, right)) == alike


@given(DOCUMENTS, DOCUMENTS)
def test_placement_and_words_for_people_move_no_revision(
    document: dict[str, Any], other: dict[str, Any]
) -> None:
    placed = {name: other[name] for name in ("pool", "aliases", "description") if name in other}
    before, after = admit_document("model", document), admit_document("model", document | placed)
    for profile in before["profiles"]:
        assert model_revision(before, profile) == model_revision(after, profile)
