"""Laws of leases: shares stay within their pools, whoever gives them, and bind who uses them."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.gateway_world import MemoryLeases, heartbeat, model, resolver_of

from sie_core.registry import Registry
from sie_core.resolver import Resolver
from sie_gateway.fleet.fleet import Fleet
from sie_gateway.fleet.routing import Cold, Routes, Wanted
from sie_gateway.leases.lease_desk import LeaseDesk
from sie_gateway.leases.leases import (
    LeaseCaps,
    check_grant,
    check_name,
    lease_view,
    under_lease,
    warm_workers,
)
from sie_runtime.broker.bus import BusUnavailable
from sie_runtime.streams.lease_store import LeaseMoved, LeaseTable
from sie_schemas.api.leases import Lease, LeaseRequest, LeaseSpec
from sie_schemas.errors import FixRequest, Later
from sie_schemas.fleet import WantedModel, WorkerKind
from sie_testing.stage.loop import SimulatedLoop

PROFILES: Final = ("cpu", "l4", "h100")
MOST: Final = {"default": 6, "night": 4, "free": None}
CAPS: Final = LeaseCaps(leases_max=20, ttl_s_max=100.0, warm_workers_max=10)


def _pool(name: str, most: int | None) -> tuple[str, str, dict[str, Any]]:
    bound = {} if most is None else {"workers_max": most}
    return "pool", name, {"name": name, "machine_profiles": list(PROFILES), **bound}


RESOLVER: Final = resolver_of(
    [
        model("org/dense", {"encode": {}}),
        ("bundle", "default", {"name": "default", "backends": ["echo"]}),
        *(_pool(name, most) for name, most in MOST.items()),
    ]
)
COUNTS: Final = st.dictionaries(st.sampled_from(PROFILES), st.integers(1, 4), max_size=2)


@st.composite
def _requests(draw: st.DrawFn) -> LeaseRequest:
    """A lease of few names, so that some change an earlier one; a count is never above its cap."""
    caps = draw(COUNTS)
    gpus = {
        name: draw(st.integers(1, count)) for name, count in caps.items() if draw(st.booleans())
    }
    if not caps:
        gpus = {draw(st.sampled_from(PROFILES)): draw(st.integers(1, 4))}
    return LeaseRequest(
        name=draw(st.sampled_from("abcd")),
        queue_pool=draw(st.sampled_from(sorted(MOST))),
        gpus=gpus,
        gpu_caps=caps,
    )


def _lease(request: LeaseRequest) -> Lease:
    fields = {name: getattr(request, name) for name in LeaseSpec.__struct_fields__}
    return Lease(spec=LeaseSpec(**fields), ttl_s=10.0, created_at=0.0, renewed_at=0.0)


def _taken(leases: Sequence[Lease], pool: str) -> int:
    return sum(sum(each.spec.share.values()) for each in leases if each.spec.queue_pool == pool)


@given(
    others=st.lists(_requests(), max_size=6),
    asked=_requests(),
    extra=st.tuples(*[st.sampled_from([-1, 0, 1])] * 3),
)
def test_a_share_is_given_exactly_where_its_pool_has_so_much_left(
    others: list[LeaseRequest], asked: LeaseRequest, extra: tuple[int, int, int]
) -> None:
    """`extra` is what there is of leases, of seconds and of warm workers beyond what is wanted."""
    held = [_lease(each) for each in others]
    most = MOST[asked.queue_pool]
    wanted = sum(asked.share.values())
    asked = msgspec.structs.replace(asked, ttl_seconds=50, minimum_worker_count=3)
    room = LeaseCaps(
        leases_max=len(held) + 1 + extra[0],
        ttl_s_max=50.0 + extra[1],
        warm_workers_max=3 + extra[2],
    )
    try:
        check_grant(RESOLVER, held, asked, room)
    except FixRequest:
        assert min(extra) < 0 or (most is not None and wanted > most)
    except Later:
        assert most is not None
        assert wanted <= most < wanted + _taken(held, asked.queue_pool)
    else:
        assert min(extra) >= 0
        assert most is None or wanted + _taken(held, asked.queue_pool) <= most


@given(asked=_requests(), named=st.sampled_from([None, *PROFILES]), there=st.sampled_from(PROFILES))
def test_a_request_under_a_lease_runs_in_its_pool_and_on_its_machine_profiles_or_nowhere(
    asked: LeaseRequest, named: str | None, there: str
) -> None:
    beat = heartbeat("w1", pool=asked.queue_pool, machine_profile=there)
    fleet = Fleet(ttl_s=10.0)
    fleet.heard(beat, now=0.0)
    wanted = Wanted("org/dense", "encode", pool=asked.name, machine_profile=named)
    if named is not None and named not in asked.share:
        with pytest.raises(FixRequest, match="has no machine profile"):
            under_lease(wanted, asked)
        return

    found = Routes().find(RESOLVER, fleet, under_lease(wanted, asked), now=1.0)

    route = found.route if isinstance(found, Cold) else found
    assert route.pool == asked.queue_pool
    assert route.machine_profile in asked.share
    assert named in (None, route.machine_profile)
    assert isinstance(found, Cold) == (there != route.machine_profile)
    assert isinstance(found, Cold) == (there not in ([named] if named else asked.share))


class SlowLeases(MemoryLeases):
    """A store at which others come in between: whoever has read lets everybody else run first."""

    def __init__(self) -> None:
        super().__init__()
        self._writes = False

    async def read(self) -> LeaseTable:
        """The table, as it was a moment ago."""
        table = await super().read()
        if not self._writes:
            await asyncio.sleep(0)
        return table

    async def put(self, lease: Lease, /, *, version: int) -> None:
        """Write against a version, in one step."""
        self._writes = True
        try:
            await super().put(lease, version=version)
        finally:
            self._writes = False


class HeldUpLeases(MemoryLeases):
    """A store whose first answer is on its way until `arrives` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.arrives = asyncio.Event()
        self._is_first = True

    async def read(self) -> LeaseTable:
        """The table as it was when it was asked for."""
        table = await super().read()
        if self._is_first:
            self._is_first = False
            await self.arrives.wait()
        return table


class LeaderlessLeases(MemoryLeases):
    """A store on a broker's cluster that drops what it is asked, until it has a leader."""

    def __init__(self, leader_at: float) -> None:
        super().__init__()
        self._leader_at = leader_at
        self.told_at: list[float] = []

    async def read(self) -> LeaseTable:
        """The table, or that no answer came."""
        now = asyncio.get_running_loop().time()
        if now < self._leader_at:
            raise BusUnavailable("no answer")
        self.told_at.append(now)
        return await super().read()


def _desk(
    store: MemoryLeases, resolver: Resolver = RESOLVER, told: list[WorkerKind] | None = None
) -> LeaseDesk:
    async def tell(kind: WorkerKind, models: Sequence[WantedModel]) -> None:
        if told is not None:
            told.append(kind)

    return LeaseDesk(
        store,
        resolver=lambda: resolver,
        workers=list,
        caps=CAPS,
        ttl_s=10.0,
        look_s=60.0,
        tell=tell,
    )


@given(asked=st.lists(_requests(), min_size=1, max_size=6))
async def test_two_gateways_never_give_more_than_a_pool_has_and_keep_what_they_gave(
    asked: list[LeaseRequest],
) -> None:
    store = SlowLeases()
    desks = itertools.cycle([_desk(store), _desk(store)])
    given_: list[str] = []

    async def create(desk: LeaseDesk, request: LeaseRequest) -> None:
        with contextlib.suppress(FixRequest, Later):
            view = await desk.create(request)
            given_.append(view["name"])

    async with asyncio.TaskGroup() as tasks:
        for desk, request in zip(desks, asked, strict=False):
            tasks.create_task(create(desk, request))

    held = [each.lease for each in (await store.read()).held.values()]
    assert {lease.spec.name for lease in held} == set(given_)
    for pool, most in MOST.items():
        assert most is None or _taken(held, pool) <= most


@given(asked=_requests())
async def test_a_lease_that_is_there_may_be_given_again_and_keeps_its_beginning(
    asked: LeaseRequest,
) -> None:
    store = MemoryLeases()
    desk = _desk(store)
    try:
        await desk.create(asked)
    except FixRequest:
        return
    began = (await store.read()).held[asked.name].lease.created_at

    view = await desk.create(asked)

    assert view["spec"]["gpus"] == asked.gpus
    assert (await store.read()).held[asked.name].lease.created_at == began


@given(asked=_requests())
async def test_a_lease_is_known_at_every_gateway_also_where_an_older_table_is_on_its_way(
    asked: LeaseRequest,
) -> None:
    store = HeldUpLeases()
    giving, other = _desk(store), _desk(store)
    older = asyncio.create_task(other.placed(Wanted("org/dense", "encode", pool="none")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    try:
        await giving.create(asked)
    except FixRequest:
        store.arrives.set()
        await older
        return

    placing = asyncio.create_task(other.placed(Wanted("org/dense", "encode", pool=asked.name)))
    await asyncio.sleep(0)
    store.arrives.set()

    assert (await placing).lease is not None
    assert (await older).lease is None


@given(asked=_requests())
async def test_a_gateway_without_a_registry_says_nothing_of_pools_and_leases(
    asked: LeaseRequest,
) -> None:
    store = MemoryLeases()
    await store.put(_lease(asked), version=0)
    desk = _desk(store, Resolver.of(Registry.EMPTY, None))
    for ask in (desk.create(asked), desk.renew("a"), desk.delete("a"), desk.get("default")):
        with pytest.raises(Later) as caught:
            await ask
        assert caught.value.code == "NOT_READY"
    with pytest.raises(Later):
        await desk.overview()


WORKERS: Final = st.lists(
    st.tuples(
        st.sampled_from(PROFILES),
        st.sampled_from(["default", "default", "default", "night"]),
        st.sampled_from(["default", "default", "other"]),
        st.sampled_from([True, True, True, False]),
    ),
    min_size=4,
    max_size=9,
)


@given(_requests(), WORKERS, st.none() | st.sampled_from(["default", "other"]))
def test_a_lease_shows_the_workers_that_it_may_use_and_is_active_with_all_it_counts_on(
    request, told, bundle
) -> None:
    workers = [
        heartbeat(f"w{n}", machine_profile=profile, pool=pool, bundle=of, ready=ready)
        for n, (profile, pool, of, ready) in enumerate(told)
    ]
    spec = msgspec.structs.replace(_lease(request).spec, queue_pool="default", bundle=bundle)
    view = lease_view(msgspec.structs.replace(_lease(request), spec=spec), workers)["status"]
    shown = {each["name"] for each in view["assigned_workers"]}
    for profile in PROFILES:
        fitting = [
            each.worker_id
            for each in workers
            if each.ready
            and (each.machine_profile, each.pool) == (profile, spec.queue_pool)
            and bundle in (None, each.bundle)
        ]
        most = spec.gpu_caps.get(profile, len(fitting)) if profile in spec.share else 0
        assert shown & {w.worker_id for w in workers if w.machine_profile == profile} == set(
            fitting[:most]
        )
    have = dict.fromkeys(PROFILES, 0)
    for each in workers:
        have[each.machine_profile] += each.worker_id in shown
    is_whole = bool(shown) and all(have[name] >= count for name, count in spec.gpus.items())
    assert view["state"] == ("active" if is_whole else "pending")


@given(
    st.lists(st.tuples(st.sampled_from(["default", "night"]), st.integers(0, 4)), max_size=5),
    st.none() | st.integers(0, 6),
    st.integers(0, 6),
)
def test_a_pool_keeps_what_its_leases_want_warm_together_and_never_more_than_it_may(
    leases, most, least
) -> None:
    given_leases = [
        _lease(LeaseRequest(name="a", queue_pool=pool, gpus={"cpu": 1}, minimum_worker_count=count))
        for pool, count in leases
    ]
    pool: Any = {"name": "default", "machine_profiles": ["cpu"], "workers_min": least}
    pool |= {} if most is None else {"workers_max": most}
    wanted = max(least, sum(count for name, count in leases if name == "default"))
    assert warm_workers(pool, given_leases) == min(wanted, wanted if most is None else most)


@given(st.sampled_from(["default", *MOST, "mine"]), st.booleans(), st.booleans())
def test_no_lease_has_the_name_of_a_pool_nor_default_also_where_there_is_no_such_pool(
    name, deletes, is_empty
) -> None:
    resolver = resolver_of([]) if is_empty else RESOLVER
    if name != "default" and name not in resolver.pools:
        check_name(resolver, name, deleting=deletes)
        return
    with pytest.raises(FixRequest):
        check_name(resolver, name, deleting=deletes)


@given(COUNTS, st.dictionaries(st.sampled_from(PROFILES), st.integers(1, 4), min_size=1))
def test_a_lease_counts_on_no_more_workers_than_it_may_use(caps, gpus) -> None:
    request = LeaseRequest(name="a", queue_pool="free", gpus=gpus, gpu_caps=caps)
    if all(count <= caps.get(name, count) for name, count in gpus.items()):
        check_grant(RESOLVER, [], request, CAPS)
        return
    with pytest.raises(FixRequest, match="gpu_caps"):
        check_grant(RESOLVER, [], request, CAPS)


class Overtaken(MemoryLeases):
    """A store in which another gateway's word comes first, so many times."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    async def renew(self, lease: Lease, /, *, revision: int) -> None:
        """Refused as often as somebody else was faster."""
        if self.times:
            self.times -= 1
            raise LeaseMoved
        await super().renew(lease, revision=revision)


@given(
    asked=_requests(),
    ttl=st.none() | st.integers(1, 50),
    overtaken=st.integers(0, 2),
    is_elsewhere=st.booleans(),
)
async def test_what_a_desk_has_said_of_a_lease_is_so_at_once(
    asked: LeaseRequest, ttl: int | None, overtaken: int, is_elsewhere: bool
) -> None:
    """`is_elsewhere`: it is renewed and ended at a gateway that never heard of it."""
    store, told = Overtaken(), list[WorkerKind]()
    desk, late = _desk(store, told=told), _desk(store, told=told)
    other = late if is_elsewhere else desk
    # What one has read is older than what another one gives meanwhile.
    await desk.placed(Wanted("org/dense", "encode", pool="nobody"))
    await _desk(store).create(LeaseRequest(name="first", queue_pool="free", gpus={"cpu": 1}))
    wanted = Wanted("org/dense", "encode", pool=asked.name)
    request = msgspec.structs.replace(asked, ttl_seconds=ttl, pinned_models=("org/dense",))
    try:
        view = await desk.create(request)
    except FixRequest:
        return
    held = (await store.read()).held[asked.name]
    assert held.lease.ttl_s == view["spec"]["ttl_seconds"] == (ttl or 10.0)
    # Its models are wanted of every kind of worker that it has, as long as it is there.
    model = WantedModel(model_id="org/dense", profile="default")
    kinds = [WorkerKind(asked.queue_pool, name, "default") for name in PROFILES]
    leased = [kind for kind in kinds if kind.machine_profile in asked.share]
    for kind in kinds:
        assert desk.pinned(kind) == ([model] if kind in leased else [])
    assert sorted(told) == sorted(leased)
    told.clear()

    store.times = overtaken
    renewal = await other.renew(asked.name)
    assert renewal["ttl_seconds"] == held.lease.ttl_s
    renewed = (await store.read()).held[asked.name]
    assert renewed.revision > held.revision
    assert sorted(told) == sorted(leased)
    assert (await other.get(asked.name))["name"] == asked.name

    await other.delete(asked.name)
    assert not any(other.pinned(kind) for kind in kinds)
    assert (await other.placed(wanted)).lease is None
    for ended in (desk.renew, desk.delete, desk.get):
        with pytest.raises(FixRequest, match="no lease"):
            await ended(asked.name)


async def test_who_is_always_overtaken_is_asked_to_come_again_soon() -> None:
    store = Overtaken()
    desk = _desk(store)
    await desk.create(LeaseRequest(name="a", queue_pool="free", gpus={"cpu": 1}))
    store.times = 1_000
    with pytest.raises(Later) as refused:
        await desk.renew("a")
    assert refused.value.code == "POOL_CAPACITY_UNAVAILABLE"
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s < 1.0


async def test_a_pool_that_comes_to_the_log_is_meant_where_a_lease_had_its_name() -> None:
    store = MemoryLeases()
    spec = LeaseSpec(name="night", queue_pool="default", gpus={"cpu": 1})
    await store.put(Lease(spec=spec, ttl_s=9.0, created_at=0.0, renewed_at=0.0), version=0)

    desk = _desk(store)
    placed = await desk.placed(Wanted("org/dense", "encode", pool="night"))

    assert (placed.pool, placed.lease) == ("night", None)
    assert "queue_pool" not in (await desk.get("night"))["spec"]
    assert {each["kind"] for each in (await desk.overview())["pools"]} == {"pool"}


@given(leader_at=st.integers(0, 900), turn=st.integers(0, 3))
@example(1, 0)
def test_a_gateway_asks_for_the_leases_that_it_was_not_told_of_as_soon_as_for_those_that_it_has(
    leader_at: int, turn: int
) -> None:
    loop = SimulatedLoop(random.Random(turn))  # type: ignore[abstract]
    store = LeaderlessLeases(leader_at)

    async def lives() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(_desk(store).run(stop))
        await asyncio.sleep(leader_at + 60.0)
        stop.set()
        await running

    loop.run_until_complete(lives())
    loop.close()
    assert store.told_at and store.told_at[0] <= leader_at + 60.0
