"""The law of model folders: the reference's own vectors, or a refusal; nothing in between.

Each seed draws a folder that no list names, as the reference saves it, with small random weights.
Here are few seeds, those that found a fault among them; `sie soak --layouts` draws fresh ones.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import sentence_transformers as st
import torch
from tests.support.batch_judge import without_ties
from tests.support.called_layouts import draw_called
from tests.support.conformance import Answerer, load
from tests.support.handwritten_layouts import draw_handwritten
from tests.support.layout_judge import Judgement, excess, judged, require_vectors
from tests.support.odd_layouts import draw_odd
from tests.support.random_layouts import draw
from tests.support.rare_layouts import draw_rare

_SEEDS: dict[int, Judgement] = {
    4: "equal",  # vectors
    9: "equal",  # static vectors with prompts
    10: "equal",  # sparse
    17: "refused",  # a chat template around every text
    19: "equal",  # scores
    25: "equal",
    36: "equal",  # float16 weights, no padding token
    78: "equal",  # queries longer than texts in general
    86: "equal",  # the same of documents
    91: "equal",  # static vectors without a prompt: an empty text has none
    126: "refused",
    158: "equal",  # pairs that the reference cannot answer
    370: "equal",  # what stands beside a text changes it
    70113: "equal",  # a pair that ends with the padding's word, scored by a decoder
}
"""The verdict on each; a folder that begins to be refused is a fault too."""
_ODD_SEEDS: dict[int, Judgement] = {
    2: "refused",  # marks in a text are words
    8: "equal",  # `1_Pooling/`, and numbers of two types
    13: "equal",  # rooms of other names, and doubles
    41: "refused",  # filled up to a length
    56: "refused",  # two lengths of late interaction
    58: "equal",  # a prompt longer than a text may be, sparse
    73: "equal",  # tensors under a head's names
    93: "equal",  # a prompt longer than a text may be, late
    1128462873: "equal",  # fillers that look at the padding beside a text
    1356065425: "equal",  # an empty query, whose fillers nothing looks at
    1566221265: "refused",  # a chat template around every text, sparse
    1831221565: "equal",  # cut so early that the probe's padding was one token
    41239: "equal",  # queries filled up to more tokens than they are cut at
    621474009: "equal",  # scores near none, of a rounding above the plain bound
    1555495189: "equal",  # a vector of three numbers, near none
    2086522477: "equal",  # pairs that fill all positions, with a token that takes none
}
"""The same of folders that were changed after they were saved."""
_RARE_SEEDS: dict[int, Judgement] = {
    112: "equal",  # a table
    115: "equal",  # sparse, all but queries one way
    116: "equal",  # texts and images
    118: "equal",  # a score of a decoder that is seldom one
    186: "equal",  # the first route is where a text goes that nobody named
    597: "refused",  # token types that a Funnel's config does not count
}
"""The same of kinds and families that are rare."""
_WRITTEN_SEEDS: dict[int, Judgement] = {
    14: "equal",  # a null leaves a prompt out
    18: "equal",  # a table in half precision, its weights not
    215182579: "refused",  # a wrapper's name before each tensor
    420567535: "refused",  # pairs of three tokens, all of them the tokenizer's own
    288701435: "refused",  # a bias too few, which only some configs ask for
    535722047: "equal",  # a text that the reference itself rounds above the plain bound
    1440705139: "refused",  # words that are not tied to the embeddings
}
"""The same of folders of which somebody wrote a file."""
_CALLED_SEEDS: dict[int, Judgement] = {
    5: "refused",  # two lengths of one call
    8: "no reference",  # a side that is null
    102: "equal",  # a template that is cut at its beginning
    105: "refused",  # a classifier's pairs, made by a template
    146: "equal",  # the same of another family
    207: "refused",  # a mask beside the one of PyLate
}
"""The same of folders that say how a text is handed to the tokenizer."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("seed", _SEEDS)
def test_a_folder_that_nobody_listed_is_answered_as_the_reference_does(seed, tmp_path):
    drawn = draw(seed, tmp_path)
    assert judged(drawn) == _SEEDS[seed], dict(drawn.choices)


@pytest.mark.parametrize("seed", _ODD_SEEDS)
def test_a_folder_that_somebody_changed_is_answered_as_the_reference_does(seed, tmp_path):
    drawn = draw_odd(seed, tmp_path)
    assert judged(drawn) == _ODD_SEEDS[seed], dict(drawn.choices)


@pytest.mark.parametrize("seed", _RARE_SEEDS)
def test_a_folder_of_a_rare_kind_is_answered_as_the_reference_does(seed, tmp_path):
    drawn = draw_rare(seed, tmp_path)
    assert judged(drawn) == _RARE_SEEDS[seed], dict(drawn.choices)


@pytest.mark.parametrize("seed", _WRITTEN_SEEDS)
def test_a_folder_that_somebody_wrote_is_answered_as_the_reference_does(seed, tmp_path):
    drawn = draw_handwritten(seed, tmp_path)
    assert judged(drawn) == _WRITTEN_SEEDS[seed], dict(drawn.choices)


@pytest.mark.parametrize("seed", _CALLED_SEEDS)
def test_a_folder_that_says_how_texts_are_read_is_answered_as_the_reference_does(seed, tmp_path):
    drawn = draw_called(seed, tmp_path)
    assert judged(drawn) == _CALLED_SEEDS[seed], dict(drawn.choices)


def test_what_the_reference_rounds_excuses_no_vector_that_is_wrong():
    exact = torch.randn(2, 32, generator=torch.Generator().manual_seed(1)).double()
    rounded = torch.zeros(2, 32)
    rounded[1, 3] = 2e-5
    # Another row's rounding is none of the first one's.
    cases = ((1, 3e-5, True), (1, 6e-5, False), (1, float("nan"), False), (0, 3e-5, False))
    for row, by, is_taken in cases:
        found = exact.clone()
        found[row, 5] += by
        assert (excess(found, rounded, exact) == "") is is_taken, (row, by)


def test_a_layer_that_is_a_thousandth_off_is_caught_where_the_reference_rounds_most(tmp_path):
    drawn = draw_handwritten(535722047, tmp_path)
    reference: Any = st.SentenceTransformer(str(drawn.folder), device="cpu", local_files_only=True)
    answerers, texts = [Answerer(load(drawn.folder))], ("Money!",)
    require_vectors(reference, "encode", texts, answerers)
    with torch.no_grad():
        reference[0].model.encoder.layer[0].output.dense.weight[0, 0] += 1e-3
    with pytest.raises(AssertionError, match="rms from float64"):
        require_vectors(reference, "encode", texts, answerers)


@pytest.mark.parametrize(
    ("other", "is_tie"),
    [
        ([0, 0.752, 0.75, 0.9], True),
        ([0.752, 0, 0.75, 0.9], True),  # the same words
        ([0, 0.8, 0.75, 0.9], False),  # no neighbour of the least
        ([0, 0.752, 0, 0.9], False),  # a word too few
    ],
)
def test_only_the_last_of_equal_words_may_be_another_one(other, is_tie):
    rows = [torch.tensor([[0.75, 0, 0.75, 0.9]]), torch.tensor([other])]
    left, right = without_ties(rows, torch.bfloat16)
    assert ((left == 0) == (right == 0)).all().item() is is_tie
