"""Laws of the shelf of adapters: who was put comes back, and who left holds no memory."""

from functools import partial
from types import SimpleNamespace
from typing import cast

from hypothesis import example, given
from hypothesis import strategies as st

from sie_schemas.jobs import AdapterPin
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.adapters.lora import Adapter

BUDGET = 100
MODELS = ("m", "n")
PINS = tuple(AdapterPin(name=name, revision=name * 64) for name in "ab")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "get", "get", "remove", "leave while it is read"]),
        st.sampled_from(MODELS),
        st.sampled_from(PINS),
        st.sampled_from([10, 45, 60, 90]),
    ),
    min_size=5,
    max_size=30,
)


# One that had to leave is being read again as its model leaves.
@example(
    [
        ("put", "m", PINS[0], 60),
        ("put", "m", PINS[1], 60),
        ("leave while it is read", "m", PINS[0], 60),
    ]
)
@given(STEPS)
def test_an_adapter_is_found_until_its_model_leaves_and_then_holds_no_memory(steps):
    shelf = AdapterShelf(BUDGET)
    sizes: dict[tuple[str, AdapterPin], int] = {}
    leaving: list[str] = []

    def read(key: tuple[str, AdapterPin]) -> Adapter:
        size = sizes[key]
        for model in leaving:
            shelf.remove(model)
            for other in [each for each in sizes if each[0] == model]:
                del sizes[other]
        return cast("Adapter", SimpleNamespace(memory_bytes=size, of=key))

    for what, model, pin, size in steps:
        key = (model, pin)
        if what == "put":
            sizes[key] = size
            shelf.put(model, pin, partial(read, key))
        elif what == "remove":
            shelf.remove(model)
            sizes = {each: size for each, size in sizes.items() if each[0] != model}
        else:
            leaving = [model] if what != "get" else []
            was_put = key in sizes
            found = shelf.get(model, pin)
            leaving = []
            assert (found is not None) is was_put
            assert found is None or cast("SimpleNamespace", found).of == key

        there = [each for each in sizes if shelf.holds(each[0], [each[1]])]
        assert shelf.used_bytes == sum(sizes[each] for each in there)
        assert shelf.used_bytes <= BUDGET or len(there) == 1
        assert shelf.holds(model, [None])
        both = [each in there for each in ((model, PINS[0]), (model, PINS[1]))]
        assert shelf.holds(model, [*PINS, None]) is all(both)
        for each in MODELS:
            assert shelf.resident(each) == sum(there_model == each for there_model, _ in there)
