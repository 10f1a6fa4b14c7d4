"""Laws of a side of late interaction: its texts are cut, filled up, and counted as it is read."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from sie_schemas.ipc import TextForm
from sie_worker.forms.late_sides import LateSide

WORDS = 12
LIMITS = st.sampled_from([0, 0, 3, 5, 8])


def tokenizer_file() -> bytes:
    """One of words `w0` to `w11`, which would cut and fill up by itself: that is not wanted."""
    vocabulary = {f"w{number}": number for number in range(WORDS)}
    native = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, "w0"))
    native.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    native.enable_padding(length=20)
    native.enable_truncation(max_length=2)
    return native.to_str().encode()


FILE = tokenizer_file()


@example(form=TextForm(filled_to=5), length_max=0, side="right", count=0, name="query")
@example(form=TextForm(tokens_max=3, filled_to=8), length_max=5, side="left", count=4, name="query")
@given(
    form=st.builds(
        TextForm,
        tokens_max=LIMITS,
        filled_to=LIMITS,
        filler=st.integers(0, 9),
        attended=st.booleans(),
    ),
    length_max=LIMITS,
    side=st.sampled_from(["left", "right"]),
    count=st.integers(0, WORDS),
    name=st.sampled_from(["query", "document"]),
)
def test_a_text_is_cut_at_the_lesser_bound_and_filled_up_with_what_is_looked_at_or_not(
    form, length_max, side, count, name
):
    loaded = cast(Any, SimpleNamespace(max_sequence_length=length_max, truncation_side=side))
    late = LateSide.of(FILE, loaded, form)
    whole = list(range(count))
    text = " ".join(f"w{each}" for each in whole)
    bound = min([each for each in (form.tokens_max, length_max) if each] or [WORDS])
    cut = whole[-bound:] if side == "left" else whole[:bound]
    ids = late.cutter.at(None).encode(text).ids
    assert ids == cut
    # An empty text stays empty, unless fillers are looked at as its words are.
    fills = max(0, form.filled_to - len(cut)) if cut or form.attended else 0
    made = late.made(ids, name)
    assert [*np.frombuffer(made.ids, "<i4")] == [*cut, *[form.filler] * fills]
    assert made.attended == (len(cut) if fills and not form.attended else 0)
    assert made.query is (name == "query")
    # Read whole, on request: more than the model reads of it is told by the count.
    assert late.cutter.at("none").encode(text).ids == whole
    limited = form.tokens_max or length_max
    for given_ids in (cut, whole):
        count_made = len(np.frombuffer(late.made(given_ids, name).ids, "<i4"))
        reads = late.reads(given_ids)
        assert reads >= 0
        assert not reads or bool(limited)
        assert (count_made > reads > 0) is (bool(limited) and len(given_ids) > bound)
