"""Laws of placement: every model has a home, and few move."""

from typing import Any, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client
from tests.support.worker_world import model_document, resolver_of

from sie_core.resolver import Resolver
from sie_runtime.broker.bus import Message
from sie_schemas.fleet import Heartbeat, WorkerKind
from sie_worker.intake.homes import Homes
from sie_worker.intake.peers import Peers
from sie_worker.intake.placement import home, placed

MODELS = st.lists(st.integers(0, 500).map(lambda n: f"org/model-{n}"), unique=True, max_size=60)
ROOMS = st.dictionaries(
    st.integers(0, 40).map(lambda n: f"worker-{n}"), st.sampled_from([1.0, 2.0, 8.0]), min_size=1
)


@given(models=MODELS, rooms=ROOMS)
def test_every_model_has_exactly_one_home_while_a_worker_lives(models, rooms):
    pulled = [model for worker in rooms for model in placed(worker, rooms=rooms, models=models)]

    assert sorted(pulled) == sorted(models)


@given(models=MODELS, rooms=ROOMS, room=st.sampled_from([1.0, 4.0]))
def test_a_worker_that_joins_takes_models_only_for_itself(models, rooms, room):
    after = rooms | {"newcomer": room}

    moved = [model for model in models if home(model, rooms) != home(model, after)]

    assert all(home(model, after) == "newcomer" for model in moved)


@given(models=MODELS, rooms=ROOMS)
def test_a_worker_that_leaves_moves_only_its_own_models(models, rooms):
    gone = min(rooms)
    after = {worker: room for worker, room in rooms.items() if worker != gone}

    moved = [model for model in models if home(model, rooms) != home(model, after)]

    assert all(home(model, rooms) == gone for model in moved)


@given(models=MODELS, rooms=ROOMS, held=MODELS)
def test_a_held_model_stays_and_a_model_that_is_gone_does_not(models, rooms, held):
    worker = max(rooms)

    found = placed(worker, rooms=rooms, models=models, held=held)

    assert set(held) & set(models) <= found <= set(models)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_a_worker_with_three_times_the_room_is_home_to_about_three_times_the_models(seed):
    models = [f"{seed}/{n}" for n in range(2000)]

    large = len(placed("large", rooms={"large": 3.0, "small": 1.0}, models=models))

    assert 1350 <= large <= 1650


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_among_many_workers_one_is_home_to_its_share_of_the_room(seed):
    models = [f"{seed}/{n}" for n in range(2000)]
    rooms = {"large": 3.0} | {f"small-{n}": 1.0 for n in range(5)}

    large = len(placed("large", rooms=rooms, models=models))

    # Three eighths; the largest of draws that are each drawn by room alone would take a half.
    assert 640 <= large <= 860


def test_workers_that_tell_no_room_count_alike_unless_another_tells_some():
    models = [str(n) for n in range(300)]

    silent = placed("a", rooms={"a": 0.0, "b": 0.0}, models=models)
    beside = placed("a", rooms={"a": 0.0, "b": 7.0}, models=models)

    assert 100 < len(silent) < 200
    assert not beside
    assert home("m", {}) is None


# ---- what a worker remembers of it --------------------------------------------------------------

PLACE = {"pool": "default", "machine_profile": "cpu", "bundle": "default"}
NAMES = [f"org/model-{n}" for n in range(8)]
CHANGES = st.one_of(
    st.tuples(st.just("models"), st.frozensets(st.sampled_from(NAMES))),
    st.tuples(st.just("held"), st.frozensets(st.sampled_from(NAMES), max_size=2)),
    st.tuples(st.just("bundle"), st.booleans()),
    st.tuples(st.just("peer"), st.tuples(st.sampled_from(["b", "c"]), st.booleans())),
)


def word(worker_id: str, *, ready: bool) -> Heartbeat:
    """A peer's heartbeat."""
    place = {**PLACE, "worker_id": worker_id, "log_id": "1"}
    return msgspec.convert({**place, "ready": ready, "epoch": 1}, Heartbeat)


class World:
    """The state that a worker's homes are judged by."""

    def __init__(self) -> None:
        self.models: frozenset[str] = frozenset()
        self.held: frozenset[str] = frozenset()
        self.runs = True
        self.epoch = 0
        self.heard: list[Heartbeat] = []
        self.resolver: Resolver | None = None

    def homes(self, peers: Peers) -> Homes:
        """Homes that have not looked yet."""
        return Homes(
            "a",
            peers,
            bundle="default",
            resolver=lambda: self.resolver,
            room=lambda: 0,
            held=lambda: self.held,
            clock=lambda: 0.0,
            on_change=lambda: None,
        )

    def all_anew(self) -> frozenset[str]:
        """The models found by one who has heard all that was said and looks for the first time."""
        peers = Peers(WorkerKind(**PLACE), silence_s=1e9)
        for heartbeat in self.heard:
            peers.heard(heartbeat, 0.0)
        return self.homes(peers).placed()

    def change(self, what: str, value: Any, peers: Peers) -> None:
        """One thing is another one from now on."""
        if what == "peer":
            self.heard.append(word(value[0], ready=value[1]))
            peers.heard(self.heard[-1], 0.0)
        else:
            setattr(self, {"bundle": "runs"}.get(what, what), value)
        if what in {"peer", "held"} and self.resolver is not None:
            # The log does not move where a worker comes, goes or loads something.
            return
        self.epoch += 1
        made = resolver_of(
            self.epoch,
            *[model_document(name) for name in sorted(self.models)],
            backends=("scripted",) if self.runs else ("other",),
        )
        self.resolver = Resolver.of(made.registry, made.position, self.resolver)


@given(st.lists(st.tuples(CHANGES, st.booleans()), max_size=12))
def test_looks_that_take_up_what_changed_find_what_a_look_at_everything_does(steps):
    world = World()
    peers = Peers(WorkerKind(**PLACE), silence_s=1e9)
    homes = world.homes(peers)
    world.change("models", frozenset(NAMES), peers)
    assert homes.placed() == world.all_anew()
    for (what, value), looks in steps:
        world.change(what, value, peers)
        if looks:
            assert homes.placed() == world.all_anew()


SAID = st.tuples(
    st.sampled_from(["a", "b", "c"]), st.sampled_from([0, 4, 8]), st.booleans(), st.booleans()
)


@given(st.lists(SAID, max_size=12))
def test_a_change_is_told_exactly_where_the_room_of_a_peer_is_another_one(said):
    told: list[int] = []
    peers = Peers(WorkerKind(**PLACE), silence_s=1e9)
    homes = Homes(
        "a",
        peers,
        bundle="default",
        resolver=lambda: None,
        room=lambda: 0,
        held=frozenset,
        clock=lambda: 0.0,
        on_change=lambda: told.append(1),
    )
    rooms: dict[str, int] = {}
    for worker, room, ready, leaving in said:
        before = dict(rooms)
        if ready and not leaving and worker != "a":
            rooms[worker] = room
        else:
            rooms.pop(worker, None)
        heard = msgspec.structs.replace(
            word(worker, ready=ready), leaving=leaving, memory_total_bytes=room
        )
        count = len(told)
        homes.heard(message_of(heard))
        assert len(told) - count == (rooms != before), "a worker's own word is no peer's"
        assert homes.has_peers is bool(rooms)


def message_of(heartbeat: Heartbeat) -> Message:
    """A heartbeat as the bus hands it over."""
    data = msgspec.msgpack.encode(heartbeat)
    return Message(f"sie.health.{heartbeat.worker_id}", data, "", {}, cast("Client", None))
