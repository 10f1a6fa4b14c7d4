"""Laws of scores: a pair has the numbers that it has alone, of the label that was chosen."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.sameness import assert_same

from sie_schemas.errors import OurFault
from sie_server.backends.heads.class_heads import _last_place
from sie_server.backends.heads.vector_answers import as_given, rows_as_given
from sie_server.backends.score.activations import ACTIVATIONS, judge
from sie_server.backends.score.cross_encoder import _label

LOGITS = st.integers(1, 3).flatmap(
    lambda labels: st.lists(
        st.lists(st.sampled_from([-9.0, -1.0, 0.0, 0.5, 4.0]), min_size=labels, max_size=labels),
        min_size=1,
        max_size=4,
    )
)


@given(LOGITS, st.sampled_from(sorted(ACTIVATIONS)), st.data())
def test_a_pair_has_the_score_of_its_activation_and_a_relevance_whoever_is_beside_it(
    logits, activation, data
):
    """An activation is torch's of that name, over the labels of one pair."""
    label = data.draw(st.integers(0, len(logits[0]) - 1))
    kind = getattr(torch.nn, activation)
    wanted = kind(dim=0) if "oftmax" in activation else kind()
    rows = torch.tensor(logits)
    found = judge(rows, activation, label)
    scores = torch.stack([wanted(row)[label] for row in rows])
    chances = [row.sigmoid() if len(row) == 1 else row.softmax(dim=0) for row in rows]
    # What is a probability by itself is one as it is.
    is_one = activation in {"Sigmoid", "Softmax", "Hardsigmoid"}
    relevance = scores if is_one else torch.stack([chance[label] for chance in chances])
    assert_same(found.scores.numpy(), scores.numpy())
    assert_same(found.relevance.numpy(), relevance.numpy())
    assert torch.equal(found.logits, rows[:, label])


@given(st.none() | st.integers(-1, 4) | st.booleans(), st.integers(1, 3))
def test_of_several_labels_the_one_that_is_named_counts_else_the_last(chosen, labels):
    options = {} if chosen is None else {"label": chosen}
    spec = cast(Any, SimpleNamespace(profile=SimpleNamespace(options=options)))
    if chosen is None:
        assert _label(spec, labels) == labels - 1
    elif isinstance(chosen, bool) or not 0 <= chosen < labels:
        with pytest.raises(OurFault, match=f"labels 0 to {labels - 1}"):
            _label(spec, labels)
    else:
        assert _label(spec, labels) == chosen


@given(st.permutations(range(5)))
def test_what_was_run_in_another_order_comes_back_in_the_order_of_its_inputs(order):
    """`order` names the input that each place of the run is of."""
    assert as_given([f"of {index}" for index in order], order) == [f"of {n}" for n in range(5)]
    rows = rows_as_given(torch.tensor([[float(index)] for index in order]), order)
    assert rows.tolist() == [[float(n)] for n in range(5)]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.sampled_from([None, 0, 7]))
def test_a_decoder_judges_by_its_last_token_that_is_no_filling_wherever_that_stands(ids, padding):
    """As transformers does: also a word of a text may be the one that others are filled up with."""
    counted = np.flatnonzero([padding is None or token != padding for token in ids])
    assert _last_place(torch.tensor(ids), padding) == (counted[-1] if len(counted) else 0)
