"""Laws of the devices of one host: where a model is loaded, and who gets the inputs of a job."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.worker_world import model_document, resolver_of

from sie_core.resolver import ResolvedModel
from sie_schemas.errors import OurFault
from sie_schemas.fleet import ModelReport, ModelState
from sie_schemas.ipc import Hello, TextInput
from sie_worker.device.device import Device
from sie_worker.device.devices import Devices
from sie_worker.execution.models import LoadedModel
from sie_worker.scheduling.lanes import Lane, QueuedInput

NAMES = ("org/a", "org/b", "org/c")
_RESOLVER = resolver_of(1, *map(model_document, NAMES))
MODELS = {name: _RESOLVER.resolve(name) for name in NAMES}
SPREAD_AFTER = 3


class Bench:
    """A device in memory, which is its models and its scheduler too."""

    def __init__(self, load: int = 0, *, connected: bool = True) -> None:
        self.load = load
        self.connected = connected
        self.trouble = ""
        self.hello: Hello | None = None
        self.told: dict[str, ModelReport] = {}
        self.revisions: set[str] = set()
        self.asked: list[str] = []
        self.given: list[QueuedInput] = []
        self.fails = False
        self.models = self.scheduler = self

    async def ensure(self, resolved: ResolvedModel) -> LoadedModel:
        """Load."""
        self.asked.append(resolved.revision)
        await asyncio.sleep(0)
        if self.fails:
            raise OurFault("it does not load", code="MODEL_LOAD_FAILED")
        self.revisions.add(resolved.revision)
        return model_of(resolved)

    def at_hand(self, revision: str) -> bool | None:
        """True if it is loaded."""
        return True if revision in self.revisions else None

    def reports(self) -> dict[str, ModelReport]:
        """The reports, by model."""
        return self.told

    async def unload_unless(self, wanted: Callable[[ResolvedModel], bool]) -> None:
        """Free what is not wanted."""
        gone = {each.revision for each in MODELS.values() if not wanted(each)}
        self.revisions -= gone

    def add(self, lane: Any, model: Any, inputs: Sequence[QueuedInput], *, now: float) -> None:
        """Take inputs."""
        self.given += inputs

    async def run(self, stop: asyncio.Event) -> None:
        """Until it is stopped."""
        await stop.wait()

    def wake(self) -> None:
        """Nobody sleeps."""


def model_of(resolved: ResolvedModel) -> LoadedModel:
    return LoadedModel(resolved, cast(Any, None), None, cast(Any, None), pinned=False)


def of(benches: Sequence[Bench], *, spread_after: int = SPREAD_AFTER) -> Devices:
    devices = cast("list[Device]", list(benches))
    return Devices(devices, spread_after=spread_after, piece_cost_min=10)


BENCHES = st.lists(
    st.builds(Bench, st.integers(0, 5), connected=st.booleans()), min_size=1, max_size=4
)


@given(
    benches=BENCHES,
    steps=st.lists(
        st.tuples(st.sampled_from(NAMES), st.integers(0, 3), st.booleans()), max_size=12
    ),
)
@settings(deadline=None)
async def test_a_model_is_loaded_once_where_the_fewest_are_and_again_elsewhere_when_that_is_away(
    benches, steps
):
    devices = of(benches)
    for bench in benches:
        bench.asked, bench.revisions, bench.given = [], set(), []
    homes: dict[str, Bench] = {}
    for name, at, connected in steps:
        revision = MODELS[name].revision
        bench = benches[at % len(benches)]
        bench.connected = connected
        if not connected:
            bench.revisions.clear()
        holders = [each for each in benches if revision in each.revisions]
        home = homes.get(revision)
        if not holders and (home is None or (not home.connected and devices.connected)):
            there = [each for each in benches if each.connected] or benches
            homes[revision] = min(there, key=lambda each: (len(each.revisions), each.load))
        for each in benches:
            each.asked.clear()
        # Two at once are one home.
        await asyncio.gather(*[devices.ensure(MODELS[name]) for _ in range(2)])
        asked = {each for each in benches if each.asked}
        assert asked == (set(holders) or {homes[revision]})
    for each in benches:
        each.asked.clear()
        each.revisions.add(MODELS["org/b"].revision)
    # Each that holds it is told, for it may be pinned now.
    await devices.ensure(MODELS["org/b"])
    assert all(each.asked for each in benches)
    await devices.unload_unless(lambda resolved: resolved.model_id != NAMES[0])
    for each in benches:
        each.asked.clear()
        each.connected = True
    await devices.ensure(MODELS[NAMES[0]])
    fewest = min(
        benches, key=lambda each: (len(each.revisions - {MODELS[NAMES[0]].revision}), each.load)
    )
    assert fewest.asked


@given(
    loads=st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=4),
    costs=st.lists(st.integers(1, 30), min_size=1, max_size=20),
)
def test_each_input_goes_to_one_device_that_has_its_model_and_to_no_other(loads, costs):
    benches = [Bench(load) for load, _ in loads]
    model = MODELS["org/a"]
    for bench, (_, holds) in zip(benches, loads, strict=True):
        bench.revisions = {model.revision} if holds else set()
    inputs = [
        QueuedInput(1, "r", place, cost, 60.0, TextInput(str(place)))
        for place, cost in enumerate(costs)
    ]
    lane = Lane(model.revision, "default", "encode")

    of(benches, spread_after=0).add(lane, model_of(model), inputs, now=0.0)

    holders = [bench for bench in benches if bench.revisions] or benches
    given_to = [each for bench in benches for each in bench.given]
    assert Counter(map(id, given_to)) == Counter(map(id, inputs))
    assert all(bench in holders for bench in benches if bench.given)


BUSY_AND_IDLE = (True, True)
STEPS = st.lists(st.sampled_from([*[BUSY_AND_IDLE] * 5, (True, False), (False, True)]), max_size=14)


@given(steps=STEPS, fails=st.booleans())
@settings(deadline=None)
async def test_a_model_spreads_to_an_idle_device_after_so_many_busy_times_in_a_row(steps, fails):
    """In each step its own device is busy or not, and the other one idle or not."""
    own, other = Bench(), Bench()
    own.revisions = {MODELS["org/a"].revision}
    other.fails = fails
    devices = of([own, other])
    model, lane = model_of(MODELS["org/a"]), Lane(MODELS["org/a"].revision, "default", "encode")
    stop = asyncio.Event()
    running = asyncio.create_task(devices.run(stop))
    await asyncio.sleep(0)
    in_a_row = loads = 0
    for busy, idle in steps:
        own.load, other.load = int(busy), int(not idle)
        spreads = not other.revisions and busy and idle
        in_a_row = in_a_row + 1 if spreads else 0
        if in_a_row == SPREAD_AFTER:
            loads, in_a_row = loads + 1, 0
        devices.add(lane, model, [], now=0.0)
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(other.asked) == loads
    stop.set()
    await running
    assert not own.asked


STATES: st.SearchStrategy[ModelState] = st.sampled_from(
    ["available", "failed", "loading", "loaded"]
)


@given(
    told=st.lists(
        st.tuples(
            st.booleans(),
            st.integers(1, 9),
            st.booleans(),
            st.none() | STATES,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_told_of_the_devices_is_the_best_and_the_sum_and_who_is_away(told):
    benches = []
    for place, (connected, memory, shared, state) in enumerate(told):
        bench = Bench(connected=connected)
        bench.trouble = "" if connected else f"loss {place}"
        if connected:
            bench.hello = Hello(
                pid=1, device="d", backends=(), memory_bytes=memory, memory_shared=shared
            )
        bench.told = {"org/a": ModelReport(state=state)} if state else {}
        benches.append(bench)
    devices = of(benches)
    rooms = [(memory, shared) for connected, memory, shared, _ in told if connected]
    assert devices.room_bytes == sum(memory for memory, shared in rooms if not shared) + max(
        [memory for memory, shared in rooms if shared], default=0
    )
    away = [f"loss {place}" for place, (connected, *_) in enumerate(told) if not connected]
    assert devices.state()["executor_loss"] == (away[0] if away else "")
    assert [part for part in devices.trouble.split("; ") if part] == [
        f"device {place}: loss {place}"
        for place, (connected, *_) in enumerate(told)
        if not connected
    ]
    order = ["available", "failed", "loading", "loaded"]
    states = [state for *_, state in told if state]
    found = devices.reports()
    assert (found["org/a"].state if found else None) == max(states, key=order.index, default=None)
