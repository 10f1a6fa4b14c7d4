"""Laws of what an input takes of a batch's budget: never nothing, and its own share alone."""

from hypothesis import given
from hypothesis import strategies as st

from sie_schemas.ipc import (
    DocumentInput,
    Input,
    LateInput,
    Loaded,
    PairInput,
    TextInput,
    TokensInput,
)
from sie_worker.forms.costs import costs_of, token_count

WORDS = st.text("aé😀\ud800", max_size=12)
"""Of one to four bytes each, half of a pair among them."""
TOKENS = st.integers(0, 9).map(lambda count: TokensInput(b"\1\0\0\0" * count))
INPUTS = st.lists(
    st.builds(TextInput, WORDS)
    | st.builds(PairInput, WORDS, WORDS)
    | TOKENS
    | st.builds(LateInput, TOKENS, TOKENS)
    | st.builds(DocumentInput, st.binary(max_size=30), st.just("pdf")),
    max_size=6,
)


def size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def bytes_of(given_one: Input) -> int:
    match given_one:
        case TextInput(text):
            return size(text)
        case PairInput(query, text):
            return size(query) + size(text)
        case TokensInput():
            return len(given_one.ids)
        case LateInput():
            return len(given_one.query.ids) + len(given_one.document.ids)
        case DocumentInput():
            return len(given_one.data)
    raise AssertionError(given_one)


def tokens_of(given_one: Input) -> int:
    if isinstance(given_one, LateInput):
        return tokens_of(given_one.query) + tokens_of(given_one.document)
    return len(given_one.ids) // 4 if isinstance(given_one, TokensInput) else 0


@given(
    inputs=INPUTS,
    unit=st.sampled_from(["tokens", "bytes4", "items"]),
    item_cost=st.integers(0, 50),
    per_label=st.integers(0, 3),
    labels=st.lists(st.text("aé", min_size=1, max_size=8), max_size=4),
)
def test_an_input_costs_what_is_read_of_it_as_often_as_it_is_read(
    inputs, unit, item_cost, per_label, labels
):
    loaded = Loaded(
        id=0,
        revision="r",
        accepts="text",
        cost_unit=unit,
        item_cost=item_cost,
        reads_per_label=per_label,
    )
    tokens = [token_count(each) for each in inputs]
    assert tokens == list(map(tokens_of, inputs))
    found = costs_of(inputs, tokens, loaded, labels)
    for each, count, cost in zip(inputs, tokens, found, strict=True):
        once = {
            "tokens": count or bytes_of(each) // 4,
            "bytes4": bytes_of(each) // 4,
            "items": item_cost,
        }[unit]
        wanted = max(1, once)
        if per_label:
            wanted = wanted * (len(labels) or per_label) + sum(map(size, labels)) // 4
        assert cost == wanted
