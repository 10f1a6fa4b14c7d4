"""Laws of what is told of a text: its place, which label was meant, and what is likely enough."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_schemas.documents import ExtractTask
from sie_schemas.errors import FixRequest
from sie_server.backends.extraction.characters import placed, whole
from sie_server.backends.extraction.classes import told
from sie_server.backends.extraction.labels import FixedLabels, any_labels
from sie_server.backends.extraction.tags import Tag
from sie_server.backends.extraction.text_classification import _activation

FLAGS, MARKS = "\U0001f1e9\U0001f1ea", "\u0301\U0001f3fd"
# The last that takes so many bytes or units, and the first that takes one more.
BORDERS = st.text("a\x7e\x7f\x80\u07ff\u0800\uffff\U00010000", max_size=12)


@st.composite
def parts(draw: Any, texts: st.SearchStrategy[str]) -> tuple[str, int, int]:
    """A text and a part of it."""
    text = draw(texts)
    ends = st.integers(0, len(text))
    start, stop = sorted([draw(ends), draw(ends)])
    return text, start, stop


@given(parts(BORDERS))
def test_places_are_those_of_the_text_as_its_reader_holds_it(part):
    text, start, stop = part
    for unit, codec, width in (("characters", "utf-32-le", 4), ("utf16", "utf-16-le", 2)):
        [found] = placed(text, [(start, stop, "x", 1.0)], unit)
        held = text.encode(codec)
        assert held[width * found["start"] : width * found["end"]].decode(codec) == text[start:stop]
        assert found["start"] == len(text[:start].encode(codec)) // width
    [found] = placed(text, [(start, stop, "x", 1.0)], "bytes")
    assert found["start"] == len(text[:start].encode())
    assert found["end"] == len(text[:stop].encode())
    assert found["text"] == text[start:stop]


@given(parts(st.text(f"a{FLAGS}{MARKS}", max_size=9)))
def test_a_range_is_widened_to_what_a_reader_sees_as_characters_and_no_further(part):
    text, start, stop = part
    seen: list[str] = []
    for character in text:
        is_second = character in FLAGS and bool(seen) and len(seen[-1]) == 1 and seen[-1] in FLAGS
        if seen and (character in MARKS or is_second):
            seen[-1] += character
        else:
            seen.append(character)
    borders = [sum(map(len, seen[:place])) for place in range(len(seen) + 1)]
    wanted = (max(at for at in borders if at <= start), min(at for at in borders if at >= stop))
    assert whole(text, start, stop) == (wanted if start < stop else (start, stop))


KINDS = ("LOC", "Loc", "PER")
WORDS = ("LOC", "loc", "B-LOC", "per", "Place", "place", "nobody")


@given(
    own=st.lists(st.sampled_from(["LOC", "PER"]), unique=True),
    synonyms=st.dictionaries(
        st.sampled_from(["Place", "place", "PLACE"]),
        st.lists(st.sampled_from(["loc", "PER", "else"]), min_size=1, max_size=2).map(tuple),
    ),
    asked=st.lists(st.sampled_from(WORDS), max_size=3),
)
def test_labels_mean_a_models_own_by_kind_tag_or_synonym_or_are_refused(own, synonyms, asked):
    """Those of the request alone, where it names any."""

    def meant(label: str) -> set[str]:
        if label in KINDS:
            return {label}
        if label == "B-LOC":
            return {"LOC"}
        others = [kinds for word, kinds in synonyms.items() if word.lower() == label.lower()]
        words = {label.lower(), *(kind.lower() for kinds in others for kind in kinds)}
        return {kind for kind in KINDS if kind.lower() in words}

    task = ExtractTask(labels=tuple(own), synonyms=synonyms)
    spec = SimpleNamespace(model_id="org/a", tasks=SimpleNamespace(extract=task))
    labels = FixedLabels(cast(Any, spec), KINDS, [Tag("B-LOC", "LOC", begins=True), Tag("O", None)])
    if all(map(meant, asked)):
        found = set().union(*map(meant, asked)) or set(own) or set(KINDS)
        assert labels.wanted(asked) == found
    else:
        with pytest.raises(FixRequest):
            labels.wanted(asked)


@given(st.lists(st.sampled_from(["b", "a", "c", "B"]), min_size=1))
def test_labels_for_a_model_that_finds_any_come_as_they_were_asked_for(labels):
    assert [*any_labels(labels, "org/a")] == labels


SCORES = st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=5)


@given(SCORES, st.sampled_from([-np.inf, 0.0, 0.25, 0.5]))
def test_the_classes_that_are_likely_enough_come_by_falling_score_and_alike_in_their_order(
    scores, threshold
):
    names = [f"l{place}" for place in range(len(scores))]
    found = [(each["label"], each["score"]) for each in told(names, np.array(scores), threshold)]
    kept = [pair for pair in zip(names, scores, strict=True) if pair[1] >= threshold]
    assert found == sorted(kept, key=lambda pair: -pair[1])


@given(
    st.sampled_from([None, "regression", "multi_label_classification"]),
    st.integers(1, 3),
)
def test_scores_are_probabilities_of_one_label_each_or_of_all_together_as_a_model_was_trained(
    problem, count
):
    """As transformers' pipeline has it: one label alone would always be certain."""
    config = SimpleNamespace(problem_type=problem)
    core = SimpleNamespace(config=config, names=tuple(f"l{place}" for place in range(count)))
    wanted = (
        "none" if problem == "regression" else "sigmoid" if problem or count == 1 else "softmax"
    )
    assert _activation(cast(Any, core)) == wanted
