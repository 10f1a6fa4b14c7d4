"""Laws of the shelf of adapters: who was put comes back, and who left holds no memory."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import TypeAlias, cast

from hypothesis import example, given
from hypothesis import strategies as st

from sie_schemas.jobs import AdapterPin
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.adapters.lora import Adapter

BUDGET = 100
MODELS = ("m", "n")
PINS = tuple(AdapterPin(name=name, revision=name * 64) for name in "ab")
Key: TypeAlias = tuple[str, AdapterPin]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "get", "get", "remove", "leave", "put anew"]),
        st.sampled_from(MODELS),
        st.sampled_from(PINS),
        st.sampled_from([10, 45, 60, 90, 120]),
    ),
    min_size=5,
    max_size=30,
)


class World:
    """A shelf, and the sizes of the adapters that it has to find."""

    def __init__(self) -> None:
        self.shelf = AdapterShelf(BUDGET)
        self.sizes: dict[Key, int] = {}
        self._while_read: list[Callable[[], None]] = []

    def put(self, key: Key, size: int) -> None:
        self.sizes[key] = size
        self.shelf.put(*key, partial(self._read, key, size))

    def leave(self, model: str) -> None:
        self.shelf.remove(model)
        for each in [each for each in self.sizes if each[0] == model]:
            del self.sizes[each]

    def get(self, key: Key, *while_read: Callable[[], None]) -> None:
        """Some things happen while it is read, if it is."""
        self._while_read = [*while_read]
        was_put = key in self.sizes
        found = self.shelf.get(*key)
        self._while_read = []
        assert (found is not None) is was_put
        assert found is None or cast("SimpleNamespace", found).of == key

    def _read(self, key: Key, size: int) -> Adapter:
        while self._while_read:
            self._while_read.pop(0)()
        return cast("Adapter", SimpleNamespace(memory_bytes=size, of=key))


# One that had to leave is being read again as its model leaves, and comes again.
@example(
    [
        ("put", "m", PINS[0], 60),
        ("put", "m", PINS[1], 60),
        ("leave", "m", PINS[0], 60),
    ]
)
@example(
    [
        ("put", "m", PINS[0], 60),
        ("put", "m", PINS[1], 60),
        ("put anew", "m", PINS[0], 45),
    ]
)
@given(STEPS)
def test_an_adapter_is_found_until_its_model_leaves_and_then_holds_no_memory(steps):
    world = World()
    for what, model, pin, size in steps:
        key = (model, pin)
        leaves, comes = partial(world.leave, model), partial(world.put, key, size)
        {
            "put": comes,
            "remove": leaves,
            "get": partial(world.get, key),
            "leave": partial(world.get, key, leaves),
            "put anew": partial(world.get, key, leaves, comes),
        }[what]()
        there = [each for each in world.sizes if world.shelf.holds(each[0], [each[1]])]
        assert key in there or key not in world.sizes, (
            "what was wanted last stays, whatever its size"
        )
        assert world.shelf.used_bytes == sum(world.sizes[each] for each in there)
        assert world.shelf.used_bytes <= BUDGET or len(there) == 1
        assert world.shelf.holds(model, [None])
        both = [each in there for each in ((model, PINS[0]), (model, PINS[1]))]
        assert world.shelf.holds(model, [*PINS, None]) is all(both)
        for each in MODELS:
            assert world.shelf.resident(each) == sum(
                there_model == each for there_model, _ in there
            )
