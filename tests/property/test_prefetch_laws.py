"""Laws of what a worker loads ahead: all that it is wanted for and may load, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.worker_world import LOG_ID

from sie_core.chain import Position
from sie_core.registry import Entity, Registry
from sie_core.resolver import ResolvedAdapter, ResolvedModel, Resolver
from sie_runtime.broker.bus import Bus, BusUnavailable
from sie_schemas import canonical
from sie_schemas.documents import admit_document
from sie_schemas.errors import FixRequest, SIEError
from sie_schemas.fleet import (
    DEMAND_SUBJECT,
    DemandAsked,
    WantedModel,
    WantedModels,
    WorkerKind,
    wanted_subject,
)
from sie_schemas.jobs import AdapterPin
from sie_worker.device.devices import Devices
from sie_worker.intake.prefetch import Prefetch

KIND = WorkerKind(pool="night", machine_profile="cpu", bundle="small")
NAMES = ("org/a", "org/b", "org/c")
PINNED = ("org/b", "org/a:fast", "org/nobody")
WISHES_MAX = 256
SOURCE = {"type": "package", "package": "p", "distribution": "p", "version": "1"}


def _resolver() -> Resolver:
    """Three models of two profiles and one adapter each; a third profile is of another bundle."""
    profiles = {
        "default": {"backend": "one"},
        "fast": {"backend": "one"},
        "large": {"backend": "two"},
    }
    documents: list[tuple[str, str, dict[str, Any]]] = [
        ("bundle", "small", {"name": "small", "backends": ["one"]}),
        ("bundle", "large", {"name": "large", "backends": ["two"]}),
        ("pool", "default", {"name": "default", "pinned_models": ["org/c"]}),
        ("pool", KIND.pool, {"name": KIND.pool, "pinned_models": list(PINNED)}),
    ]
    for name in NAMES:
        model = {
            "model_id": name,
            "source": SOURCE,
            "aliases": [name.replace("org/", "other/")],
            "tasks": {"encode": {}},
            "profiles": profiles,
        }
        adapter = {"model_id": name, "name": "legal", "source": SOURCE}
        documents += [("model", name, model), ("adapter", f"{name}/legal", adapter)]
    entities = [
        Entity(kind, key, 1, canonical.dumps(admit_document(kind, document)))
        for kind, key, document in documents
    ]
    registry = Registry.of(entities)
    return Resolver.of(registry, Position(LOG_ID, 1, "0" * 64, registry.digest, 1))


RESOLVER = _resolver()
FAILING = ("org/c", "default")
Loaded = tuple[str, str, str]


class World:
    """A broker, gateways that are asked, and a device, in memory."""

    def __init__(self) -> None:
        self.ready, self.connected = False, True
        self.placed = frozenset(["org/c"])
        self.questions = 0
        self.loaded: list[Loaded] = []
        """Model, profile and adapter, each time that it was to be loaded."""
        self.listening: list[Callable[[Any], Awaitable[None] | None]] = []
        self.reconnected: list[Callable[[], None]] = []
        self.at_next_load: Callable[[], None] = lambda: None
        self.has_moved = False
        self.prefetch = Prefetch(
            cast(Bus, self),
            cast(Devices, self),
            kind=KIND,
            resolver=lambda: RESOLVER,
            placed=lambda: self.placed,
            ready=lambda: self.ready,
            look_s=3600.0,
        )

    async def subscribe(self, subject: str, callback: Callable[[Any], None]) -> SimpleNamespace:
        assert subject == wanted_subject(*KIND)
        self.listening.append(callback)

        async def unsubscribe() -> None:
            self.listening.remove(callback)

        return SimpleNamespace(unsubscribe=unsubscribe)

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.reconnected.append(callback)
        return lambda: self.reconnected.remove(callback)

    async def publish(self, subject: str, data: bytes) -> None:
        if not self.connected:
            raise BusUnavailable("it is away")
        assert subject == DEMAND_SUBJECT
        assert msgspec.msgpack.decode(data, type=DemandAsked) == DemandAsked(**KIND._asdict())
        self.questions += 1

    async def ensure(self, resolved: ResolvedModel) -> ResolvedModel:
        await asyncio.sleep(0)
        assert resolved.model_id in self.placed, "another worker's"
        self.loaded.append((resolved.model_id, resolved.profile, ""))
        happens, self.at_next_load = self.at_next_load, lambda: None
        happens()
        if (resolved.model_id, resolved.profile) == FAILING:
            raise FixRequest("no weights", code="MODEL_LOAD_FAILED")
        return resolved

    async def ensure_adapter(
        self, model: ResolvedModel, pin: AdapterPin, adapter: ResolvedAdapter
    ) -> None:
        assert (pin.name, pin.revision) == (adapter.name, adapter.revision)
        self.loaded[-1] = (model.model_id, model.profile, pin.name)

    def tell(self, data: bytes) -> None:
        for callback in self.listening:
            callback(SimpleNamespace(subject="s", data=data))

    def is_ready_no_more(self) -> None:
        self.ready = False
        self.prefetch.changed()

    def placement_moves(self) -> None:
        self.placed, self.has_moved = frozenset(NAMES), True
        self.prefetch.changed()

    def loads_of(self, wish: WantedModel) -> list[Loaded]:
        """The load that a wish comes to now, if any."""
        spec = f"{wish.model_id}:{wish.profile}"
        try:
            found = RESOLVER.resolve(spec, bundle=KIND.bundle, pool=KIND.pool)
        except SIEError:
            return []
        if found.model_id not in self.placed:
            return []
        is_failing = (found.model_id, found.profile) == FAILING
        is_known = wish.adapter == "legal" and not is_failing
        return [(found.model_id, found.profile, wish.adapter if is_known else "")]

    def pins(self) -> list[Loaded]:
        specs = [WantedModel(model_id="org/b"), WantedModel(model_id="org/a", profile="fast")]
        return [each for spec in specs for each in self.loads_of(spec)]


WISHES = st.builds(
    WantedModel,
    model_id=st.sampled_from([*NAMES, "other/a", "org/c", "org/nobody"]),
    profile=st.sampled_from(["default", "default", "fast", "large"]),
    adapter=st.sampled_from(["", "legal", "unknown"]),
)
CROWDS = st.tuples(WISHES, st.sampled_from([254, 255, 256])).map(
    lambda drawn: [drawn[0], *(WantedModel(model_id=f"no/{each}") for each in range(drawn[1]))]
)
"""As many as are remembered, and one more or less."""
DURING = st.sampled_from(["", "", "", "it is ready no more", "placement moves"])
"""Events while the first model of a look is loaded."""
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wishes"), st.lists(WISHES, min_size=1, max_size=4), DURING),
        st.tuples(st.just("wishes"), st.lists(WISHES, min_size=1, max_size=4), DURING),
        st.tuples(st.just("wishes"), CROWDS, DURING),
        st.tuples(st.just("garbage"), st.binary(max_size=3), DURING),
        st.tuples(st.just("ready"), st.sampled_from([True, True, False]), DURING),
        st.tuples(st.just("connected"), st.booleans(), DURING),
        st.tuples(st.just("placed"), st.frozensets(st.sampled_from(NAMES)), DURING),
        st.tuples(st.just("look"), st.none(), DURING),
    ),
    min_size=8,
    max_size=24,
)


async def _settled() -> None:
    """Until everything waits: nothing here takes longer than a few turns of the loop."""
    for _ in range(60):
        await asyncio.sleep(0)


def _happen(world: World, step: str, told: Any) -> bool:
    """Do one step. Whether the worker looks at what it should load."""
    if step == "wishes":
        world.tell(msgspec.msgpack.encode(WantedModels(models=tuple(told))))
    elif step == "garbage":
        world.tell(b"\xc1" + told)
        return False
    elif step == "connected":
        is_back, world.connected = told and not world.connected, told
        for callback in world.reconnected if is_back else []:
            callback()
        return bool(is_back)
    else:
        if step == "ready":
            world.ready = told
        elif step == "placed":
            world.placed = told
        world.prefetch.changed()
    return True


@given(STEPS)
@settings(max_examples=80, deadline=None)
async def test_all_that_a_worker_is_wanted_for_and_may_load_is_loaded_once_it_can(steps):
    """The gateways are asked once for each time that it is of use or hears the broker again."""
    world = World()
    owed: dict[WantedModel, None] = {}
    questions, is_asked = 0, False
    running = asyncio.create_task(world.prefetch.run())
    await _settled()
    for step, told, during in steps:
        owed |= dict.fromkeys(told if step == "wishes" else [])
        owed = dict.fromkeys([*owed][-WISHES_MAX:])
        world.loaded.clear()
        was_away = not world.connected
        looks = _happen(world, step, told)
        is_asked = is_asked and not (world.connected and was_away)
        pins, wished = world.pins(), [load for wish in owed for load in world.loads_of(wish)]
        world.at_next_load = {
            "it is ready no more": world.is_ready_no_more,
            "placement moves": world.placement_moves,
        }.get(during, lambda: None)
        is_of_use = looks and world.ready
        await _settled()
        assert not running.done()
        if looks:
            questions += is_of_use and not is_asked and world.connected
            is_asked = is_of_use
        if not is_of_use:
            assert not world.loaded
        elif not world.ready:
            # What is still owed is loaded when it can be.
            assert world.loaded == (pins or wished[:1])
            first = [bool(world.loads_of(wish)) for wish in owed].index(True) if not pins else -1
            owed = dict.fromkeys([*owed][first + 1 :])
            is_asked = False
        else:
            owed.clear()
            # Where placement moved meanwhile, all is looked at once more.
            last = world.loaded[-len(world.pins()) :] if world.has_moved else world.loaded
            assert last == (world.pins() if world.has_moved else pins + wished)
        world.has_moved = False
        assert world.questions == questions
    running.cancel()
    await asyncio.wait([running])
    assert not world.listening + world.reconnected
