"""Laws of products cut at blocks: each token gets its own adapter's, and few columns beside."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.sameness import assert_same

from sie_server.adapters.lora import Adapter, Delta, applied

WIDTH, OUT = 6, 5
ADAPTERS = st.lists(st.integers(0, 40), min_size=1, max_size=5)
"""The rank of each on the layer; 0 for one that does not change it."""


def adapters_of(ranks: list[int]) -> list[Adapter]:
    generator = torch.Generator().manual_seed(len(ranks))
    return [
        Adapter(
            {
                "0": Delta(
                    torch.randn(rank, WIDTH, generator=generator),
                    torch.randn(rank, OUT, generator=generator),
                )
            }
            if rank
            else {}
        )
        for rank in ranks
    ]


@settings(max_examples=60, deadline=None)
@given(ADAPTERS, st.data())
def test_each_token_gets_the_products_of_its_own_adapter_wherever_they_are_cut(ranks, data):
    places = st.none() | st.integers(0, len(ranks) - 1)
    owners = data.draw(st.lists(st.tuples(st.integers(1, 9), places), min_size=1, max_size=12))
    step = data.draw(st.integers(0, 12))
    adapters, layer = adapters_of(ranks), torch.nn.Linear(WIDTH, OUT)
    of_tokens = [place for count, place in owners for _ in range(count)]
    inputs = torch.randn(len(of_tokens), WIDTH)
    with torch.inference_mode():
        with applied(torch.nn.Sequential(layer), adapters, owners, step=step):
            found = layer(inputs)
        for row, (given_, place) in enumerate(zip(inputs, of_tokens, strict=True)):
            expected = layer(given_)
            delta = None if place is None else adapters[place].deltas.get("0")
            if delta is not None:
                expected = expected + delta.down @ given_ @ delta.up
            assert_same(found[row].numpy(), expected.numpy())
        assert torch.equal(layer(inputs), torch.nn.functional.linear(inputs, *layer.parameters()))


@settings(max_examples=40, deadline=None)
@given(
    ranks=st.lists(st.tuples(*[st.sampled_from([0, 2, 3, 40])] * 2), min_size=2, max_size=4),
    data=st.data(),
)
def test_each_layer_has_the_adapters_that_change_it_and_no_others(ranks, data):
    """Adapters of a batch were trained on other layers each, and with other ranks."""
    places = st.none() | st.integers(0, len(ranks) - 1)
    owners = data.draw(st.lists(st.tuples(st.integers(1, 4), places), min_size=2, max_size=8))
    generator = torch.Generator().manual_seed(len(ranks))
    adapters = [
        Adapter(
            {
                str(layer): Delta(
                    torch.randn(rank, WIDTH, generator=generator),
                    torch.randn(rank, WIDTH, generator=generator),
                )
                for layer, rank in enumerate(each)
                if rank
            }
        )
        for each in ranks
    ]
    model = torch.nn.Sequential(*[torch.nn.Linear(WIDTH, WIDTH) for _ in range(2)])
    of_tokens = [place for count, place in owners for _ in range(count)]
    inputs = torch.randn(len(of_tokens), WIDTH)
    with torch.inference_mode():
        with applied(model, adapters, owners, step=data.draw(st.integers(0, 8))):
            found = model(inputs)
        for row, (given_, place) in enumerate(zip(inputs, of_tokens, strict=True)):
            states = given_
            for layer, linear in enumerate(model):
                delta = None if place is None else adapters[place].deltas.get(str(layer))
                added = 0.0 if delta is None else delta.down @ states @ delta.up
                states = linear(states) + added
            assert_same(found[row].numpy(), states.numpy())


def test_a_block_is_not_multiplied_with_the_adapters_of_others():
    adapters, layer = adapters_of([32] * 4), torch.nn.Linear(WIDTH, OUT)
    owners = [(16, None), (8, 0), (4, 1), (4, None), (8, 2), (8, 3)]
    with (
        torch.inference_mode(),
        applied(torch.nn.Sequential(layer), adapters, owners, step=8),
        torch.profiler.profile(record_shapes=True) as profile,
    ):
        layer(torch.randn(48, WIDTH))
    products = [each.input_shapes for each in profile.events() if each.name == "aten::mm"]
    # Two of rank 32 fill 64 columns; blocks of the base alone have none.
    assert products == [[[16, WIDTH], [WIDTH, 64]]] * 2
