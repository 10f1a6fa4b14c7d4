"""Laws of the gateway's pure parts: fleet, routing, admission, reading and assembling."""

import string
from contextlib import ExitStack
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.gateway_world import echo_result, heartbeat, standard_resolver

from sie_core.resolver import Resolver
from sie_gateway.fleet.fleet import WORKERS_MAX, Fleet
from sie_gateway.fleet.routing import Cold, Route, Routes, Wanted
from sie_gateway.request.admission import Caps, InFlight, Shares, cut
from sie_gateway.request.jobs import JobCaps, jobs_for
from sie_gateway.request.requests import Asked, Limits, read_request
from sie_gateway.request.responses import Judged, assemble, of_one_revision, render
from sie_runtime.access.rates import Rates
from sie_schemas.api.leases import LeaseSpec
from sie_schemas.errors import FixRequest, Later, SIEError
from sie_schemas.fleet import Heartbeat, WorkerKind
from sie_schemas.items import Item, Operation
from sie_schemas.jobs import JOB_ENCODER, ItemFailure, Job, JobFailure, JobResult, Timing

OTHER = ("bundle", "other", {"name": "other", "backends": ["echo"]})
RESOLVER = standard_resolver(OTHER)
REVISION = RESOLVER.resolve("org/dense").revision
GENERATIONS = [standard_resolver(OTHER, epoch=7 + n, generation=n) for n in (1, 2, 3)]
LIMITS = Limits(items_max=50, chars_max=10_000, payload_bytes_max=20_000)
WORKERS = st.sampled_from(["w1", "w2", "w3"])


# ---- fleet --------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(WORKERS, st.booleans(), st.booleans(), st.floats(0, 5)), max_size=20),
    st.floats(0, 12),
)
def test_a_worker_counts_while_its_last_word_is_fresh_and_no_farewell(
    words: list[tuple[str, bool, bool, float]], wait_s: float
) -> None:
    fleet, now = Fleet(ttl_s=6.0), 100.0
    last: dict[str, tuple[float, bool, bool]] = {}
    for worker_id, ready, leaving, pause in words:
        now += pause
        beat = heartbeat(worker_id, ready=ready, leaving=leaving)
        fleet.heard(beat, now=now)
        last[worker_id] = (now, ready, leaving)
    now += wait_s
    alive = {name for name, (at, _, leaving) in last.items() if not leaving and now - at <= 6.0}
    able = {name for name in alive if last[name][1]}
    ready_now = [*fleet.ready(WorkerKind("default", "cpu", "default"), now=now)]
    assert [beat.worker_id for beat in fleet.live(now=now)] == sorted(alive)
    assert {beat.worker_id for beat in ready_now} == able
    assert len(ready_now) == len(able)


def test_a_fleet_forgets_the_silent_so_that_it_cannot_grow_for_ever() -> None:
    fleet = Fleet(ttl_s=1.0)
    for number in range(100):
        fleet.heard(heartbeat(f"w{number}"), now=float(2 * number))
    assert len(fleet.seen) == 1
    kind = WorkerKind("default", "cpu", "default")
    assert [beat.worker_id for beat in fleet.ready(kind, now=198.0)] == ["w99"]


@given(
    st.lists(
        st.tuples(
            WORKERS,
            st.sampled_from(["cpu", "l4"]),
            st.booleans(),
            st.sampled_from(["said", "leaving", "over"]),
            st.floats(0, 3),
        ),
        max_size=30,
    )
)
def test_a_fleet_is_what_a_naive_one_would_be(
    words: list[tuple[str, str, bool, str, float]],
) -> None:
    fleet, now = Fleet(ttl_s=5.0), 0.0
    naive: dict[str, tuple[float, Heartbeat]] = {}
    kinds = [WorkerKind("default", profile, "default") for profile in ("cpu", "l4")]
    for worker_id, profile, ready, what, pause in words:
        now += pause
        beat = heartbeat(
            worker_id, machine_profile=profile, ready=ready, leaving=what == "leaving", life="a"
        )
        naive.pop(worker_id, None)
        if what == "over":
            fleet.over(worker_id, "b")
            fleet.over(worker_id, "a")
        else:
            fleet.heard(beat, now=now)
            if what == "said":
                naive[worker_id] = (now, beat)
        able = [
            [n for n, (at, b) in naive.items() if b.ready and b.kind == kind and now - at <= 5.0]
            for kind in kinds
        ]
        found = [[beat.worker_id for beat in fleet.ready(kind, now=now)] for kind in kinds]
        assert [each[::-1] for each in found] == able


# ---- routing ------------------------------------------------------------------------------------


@st.composite
def _beats(draw: st.DrawFn) -> list[Heartbeat]:
    reports: list[dict[str, Any]] = [
        {},
        {"org/dense": {"state": "failed", "revision": REVISION}},
        {"org/dense": {"state": "failed", "revision": "old"}},
    ]
    return [
        heartbeat(
            f"w{number}",
            # Most of them fit, so that there is a choice.
            pool=draw(st.sampled_from(["default", "default", "default", "night"])),
            machine_profile=draw(st.sampled_from(["cpu", "cpu", "l4", "l4", "h100"])),
            bundle=draw(st.sampled_from(["default", "default", "default", "other"])),
            ready=draw(st.sampled_from([True, True, True, False])),
            models=draw(st.sampled_from(reports)),
        )
        for number in range(draw(st.integers(0, 5)))
    ]


def _fleet(beats: list[Heartbeat]) -> Fleet:
    fleet = Fleet(ttl_s=10.0)
    for beat in beats:
        fleet.heard(beat, now=0.0)
    return fleet


def _able(beats: list[Heartbeat], route: Route) -> list[Heartbeat]:
    return [
        beat
        for beat in beats
        if beat.ready
        and (beat.pool, beat.machine_profile, beat.bundle)
        == (route.pool, route.machine_profile, route.bundle)
    ]


def test_workers_that_somebody_invents_make_no_fleet_without_end_and_push_nobody_out() -> None:
    fleet = Fleet(ttl_s=6.0)
    for number in range(WORKERS_MAX + 1000):
        fleet.heard(heartbeat(f"w{number}"), now=1.0)
    assert len(fleet.seen) == WORKERS_MAX
    fleet.heard(heartbeat("w0"), now=2.0)
    assert fleet.seen["w0"].at == 2.0
    fleet.heard(heartbeat("late"), now=7.5)
    assert len(fleet.seen) == 2, "the others are silent"


BUNDLES = st.sampled_from([None, "default", "other"])


@given(
    beats=_beats(),
    machine_profile=st.sampled_from([None, "cpu", "l4"]),
    pool=st.sampled_from([None, "night", "default"]),
    lora=st.sampled_from([None, "legal"]),
    named=BUNDLES,
    leased=BUNDLES,
)
def test_a_route_is_what_was_asked_for_and_is_cold_only_when_nobody_is_there(
    beats: list[Heartbeat],
    machine_profile: str | None,
    pool: str | None,
    lora: str | None,
    named: str | None,
    leased: str | None,
) -> None:
    """`named` is the bundle in the model's name, `leased` the one of a lease."""
    spec = "org/dense" if named is None else f"{named}:/org/dense"
    wanted = Wanted(spec, "encode", pool, machine_profile, lora, leased)
    conflict = None not in (named, leased) and named != leased
    if conflict or (pool == "night" and machine_profile == "l4"):
        with pytest.raises(FixRequest) as refusal:
            Routes().find(RESOLVER, _fleet(beats), wanted, now=1.0)
        why = (refusal.value.code, refusal.value.field)
        place = (FixRequest("").code, "X-SIE-MACHINE-PROFILE")
        assert why == (("BUNDLE_ROUTING_CONFLICT", None) if conflict else place)
        return
    found = Routes().find(RESOLVER, _fleet(beats), wanted, now=1.0)
    route = found.route if isinstance(found, Cold) else found
    assert (route.pool, route.bundle) == (pool or "default", named or leased or "default")
    assert machine_profile in (None, route.machine_profile)
    told = {b"x-sie-config-epoch": str(RESOLVER.position), b"x-sie-model-revision": REVISION}
    if lora is not None:
        told[b"x-sie-adapter-revision"] = RESOLVER.adapter("org/dense", lora).revision
    assert {name: value.decode() for name, value in route.headers} == told
    if isinstance(found, Cold):
        allowed = (machine_profile,) if machine_profile else route.model.machine_profiles
        warm = [
            beat
            for beat in beats
            if beat.ready
            and (beat.pool, beat.bundle) == (route.pool, route.bundle)
            and beat.machine_profile in allowed
        ]
        assert warm == []
        assert route.machine_profile == allowed[0], "what is preferred is started"
    else:
        assert _able(beats, route)


@given(_beats())
def test_the_first_choice_is_where_a_worker_can_load_the_revision_else_where_one_is_ready(
    beats: list[Heartbeat],
) -> None:
    found = Routes().find(RESOLVER, _fleet(beats), Wanted("org/dense", "encode"), now=1.0)
    there: dict[str, list[Heartbeat]] = {"cpu": [], "l4": []}
    for beat in beats:
        if beat.ready and (beat.pool, beat.bundle) == ("default", "default"):
            there.get(beat.machine_profile, []).append(beat)

    def can(beat: Heartbeat) -> bool:
        report = beat.models.get("org/dense")
        return report is None or report.revision != REVISION

    ready = [name for name, workers in there.items() if workers]
    able = [name for name in ready if any(map(can, there[name]))]
    if not ready:
        assert isinstance(found, Cold)
        return
    assert isinstance(found, Route)
    assert found.machine_profile == (able or ready)[0]


USUAL = Wanted("org/dense", "encode")
WISHES: dict[str, st.SearchStrategy[Any]] = {
    "spec": st.sampled_from(["dense", "dense:fast", "ranker", "nobody"]),
    "operation": st.sampled_from(get_args(Operation)),
    "pool": st.sampled_from([None, "default", "night", "nobody"]),
    "machine_profile": st.sampled_from([None, "cpu", "l4"]),
    "lora": st.sampled_from([None, "legal", "nobody"]),
    "bundle": BUNDLES,
    "lease": st.sampled_from([LeaseSpec(name="a", gpus={name: 1}) for name in ("cpu", "l4")]),
}
ONE_WISH = st.sampled_from(sorted(WISHES)).flatmap(
    lambda name: st.tuples(st.just(name), WISHES[name])
)


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.lists(ONE_WISH, max_size=2).map(dict), st.booleans()),
        max_size=12,
    )
)
def test_what_is_remembered_of_one_registry_and_wish_is_never_told_of_another(
    asked: list[tuple[int, dict[str, Any], bool]],
) -> None:
    assert WISHES.keys() == set(Wanted.__struct_fields__), "a new wish is told of here"
    remembering = Routes()
    for generation, wishes, warm in asked:
        resolver = GENERATIONS[generation - 1]
        fleet = _fleet([heartbeat()] if warm else [])
        for wanted in (USUAL, msgspec.structs.replace(USUAL, **wishes)):
            fresh = _found(Routes(), resolver, fleet, wanted)
            assert _found(remembering, resolver, fleet, wanted) == fresh


def _found(routes: Routes, resolver: Resolver, fleet: Fleet, wanted: Wanted) -> Any:
    try:
        return routes.find(resolver, fleet, wanted, now=1.0)
    except SIEError as error:
        return error.code, error.message


def test_a_wish_is_resolved_once_until_too_many_others_came() -> None:
    others = [Wanted(spec, "encode") for spec in ("dense", "dense:fast", "org/dense:fast")]
    fleet = _fleet([heartbeat()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sie_gateway.fleet.routing._REMEMBERED_MAX", 3)
        for count in range(len(others) + 1):
            routes = Routes()
            first = _found(routes, RESOLVER, fleet, USUAL)
            for wanted in others[:count]:
                routes.find(RESOLVER, fleet, wanted, now=1.0)
            assert (_found(routes, RESOLVER, fleet, USUAL) is first) is (count < 2)


def test_silence_beyond_the_time_to_live_makes_a_route_cold() -> None:
    wanted = Wanted("dense", "encode")
    fleet = _fleet([heartbeat()])
    assert isinstance(Routes().find(RESOLVER, fleet, wanted, now=10.0), Route)
    assert isinstance(Routes().find(RESOLVER, fleet, wanted, now=10.1), Cold)


# ---- admission ----------------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 1000), max_size=200) | st.lists(st.integers(1, 4), max_size=12),
    st.integers(1, 20),
    st.integers(1, 12) | st.integers(1, 3000),
)
def test_a_cut_covers_every_item_once_in_order_within_the_caps_and_no_sooner_than_it_must(
    sizes: list[int], items_max: int, bytes_max: int
) -> None:
    ranges = cut(sizes, items_max=items_max, bytes_max=bytes_max)
    assert [index for indices in ranges for index in indices] == list(range(len(sizes)))
    totals = [sum(sizes[index] for index in indices) for indices in ranges]
    for indices, total in zip(ranges, totals, strict=True):
        assert 1 <= len(indices) <= items_max
        assert len(indices) == 1 or total <= bytes_max
    jobs = -(-len(sizes) // items_max)
    for indices, total in zip(ranges[:-1], totals[:-1], strict=True):
        is_full = len(indices) == -(-len(sizes) // jobs)
        assert is_full or total + sizes[indices.stop] > bytes_max


@given(st.lists(st.integers(1, 3), min_size=1, max_size=12), st.integers(2, 7))
def test_a_job_is_filled_to_the_last_byte_where_bytes_alone_bound_it(
    sizes: list[int], bytes_max: int
) -> None:
    filled: list[int] = []
    for size in sizes:
        if filled and filled[-1] + size <= bytes_max:
            filled[-1] += size
        else:
            filled.append(size)
    ranges = cut(sizes, items_max=len(sizes), bytes_max=bytes_max)
    assert [sum(sizes[index] for index in indices) for indices in ranges] == filled


@given(st.integers(1, 500), st.integers(1, 64))
def test_jobs_of_small_items_are_as_few_and_as_equal_as_they_can_be(
    count: int, items_max: int
) -> None:
    lengths = [len(indices) for indices in cut([1] * count, items_max=items_max, bytes_max=10**9)]
    assert len(lengths) == -(-count // items_max)
    assert max(lengths) - min(lengths) < max(lengths) or len(lengths) == 1
    assert all(length == max(lengths) for length in lengths[:-1])


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9), st.booleans()), max_size=40),
    st.integers(1, 8),
    st.integers(1, 18),
)
def test_what_is_in_flight_is_refused_beyond_the_caps_alone_and_given_back(
    requests: list[tuple[int, int, bool]], items_max: int, bytes_max: int
) -> None:
    caps, load = Caps(items_max=items_max, bytes_max=bytes_max), InFlight()
    held: list[tuple[int, int]] = []
    for items, size, gives_back in requests:
        before, wanted = load, [*held, (items, size)]
        fits = sum(each for each, _ in wanted) <= items_max
        fits = fits and sum(each for _, each in wanted) <= bytes_max
        try:
            load = load.plus(items=items, size=size, caps=caps)
        except Later as refusal:
            assert refusal.code == "QUEUE_FULL"
            assert load is before
            assert held, "an idle gateway takes any request"
            assert not fits
        else:
            held = wanted
            assert len(held) == 1 or fits
        if gives_back and held:
            gone_items, gone_size = held.pop(0)
            load = load.minus(items=gone_items, size=gone_size)
        assert (load.items, load.bytes) == (sum(i for i, _ in held), sum(b for _, b in held))


# ---- reading ------------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "items": st.lists(
            st.fixed_dictionaries({}, optional={"text": st.text(), "metadata": JSON_VALUES}),
            max_size=4,
        )
        | JSON_VALUES,
        "query": st.fixed_dictionaries({}, optional={"text": st.text(), "id": st.text()}),
        "params": st.fixed_dictionaries(
            {}, optional={"options": JSON_VALUES, "labels": JSON_VALUES}
        ),
        "options": JSON_VALUES,
    },
)
OPERATIONS = st.sampled_from(get_args(Operation))


@given(OPERATIONS, st.binary(max_size=60), st.booleans())
def test_any_bytes_are_a_request_or_an_error_that_names_a_place(
    operation: Operation, body: bytes, is_msgpack: bool
) -> None:
    with pytest.raises(FixRequest) as refusal:
        read_request(operation, body, is_msgpack=is_msgpack, limits=LIMITS)
    assert str(refusal.value.field).startswith("$")


@given(OPERATIONS, SHAPED)
def test_a_body_of_any_shape_is_read_alike_from_json_and_refused_without_a_crash(
    operation: Operation, value: dict[str, Any]
) -> None:
    try:
        body = msgspec.json.encode(value)
    except UnicodeEncodeError:
        return
    try:
        asked = read_request(operation, body, is_msgpack=False, limits=LIMITS)
    except FixRequest as refusal:
        assert refusal.field is not None
        return
    sizes = asked.item_sizes()
    assert len(asked.items) == len(sizes) >= 1
    assert asked.fixed_size + max(sizes) <= LIMITS.payload_bytes_max
    assert sum(sizes) <= asked.items_size <= sum(sizes) + 5, "the array has a header"


# ---- assembling ---------------------------------------------------------------------------------

TEXTS = st.lists(st.text(string.ascii_letters, max_size=8), min_size=1, max_size=30)


def _asked(operation: Operation, texts: list[str]) -> Asked:
    items = tuple(Item(text=text, id=f"id{number}") for number, text in enumerate(texts))
    query = Item(text="q", id="q1") if operation == "score" else None
    return Asked(operation, items, sum(map(len, texts)), query=query)


def _route(spec: str, operation: Operation, *, lora: str | None = None) -> Route:
    wanted = Wanted(spec, operation, lora=lora)
    found = Routes().find(RESOLVER, _fleet([heartbeat()]), wanted, now=1.0)
    assert isinstance(found, Route)
    return found


def _jobs(asked: Asked, route: Route, items_max: int, *, bytes_max: int = 10**6) -> Any:
    return jobs_for(
        asked,
        route,
        run_id="r1",
        reply_to="sie.result.g1",
        published_at=1.0,
        deadline=2.0,
        caps=JobCaps(items_max, bytes_max),
    )


@given(TEXTS, st.integers(1, 30), st.integers(1, 200))
def test_jobs_are_cut_as_measured_items_would_be_also_where_none_was_measured(
    texts: list[str], items_max: int, bytes_max: int
) -> None:
    items = [{"text": text} for text in texts]
    body = msgspec.json.encode({"items": items})
    asked = read_request("encode", body, is_msgpack=False, limits=LIMITS)
    room = asked.fixed_size + bytes_max
    jobs = _jobs(asked, _route("org/dense", "encode"), items_max, bytes_max=room)
    measured = cut(asked.item_sizes(), items_max=items_max, bytes_max=bytes_max)
    assert [(job.first_item, len(job.items)) for job in jobs] == [
        (indices.start, len(indices)) for indices in measured
    ]


@given(TEXTS, st.text(max_size=300), st.integers(1, 30), st.integers(1, 5000))
def test_what_waits_counts_for_as_much_as_all_of_its_jobs_hold(
    texts: list[str], query: str, items_max: int, bytes_max: int
) -> None:
    body = {"query": {"text": query}, "items": [{"text": text} for text in texts]}
    asked = read_request("score", msgspec.json.encode(body), is_msgpack=False, limits=LIMITS)
    jobs = _jobs(asked, _route("ranker", "score"), items_max, bytes_max=bytes_max)
    envelopes = 1024 * len(jobs)
    assert sum(len(JOB_ENCODER.encode(job)) for job in jobs) <= asked.total_size + envelopes


@given(TEXTS, st.integers(1, 7), st.sets(st.integers(0, 29)), st.booleans(), st.booleans())
def test_an_answer_has_one_entry_for_each_item_in_order_each_with_content_or_error(
    texts: list[str], items_max: int, bad: set[int], as_msgpack: bool, is_told: bool
) -> None:
    asked, route = _asked("encode", texts), _route("org/dense", "encode")
    jobs = _jobs(asked, route, items_max)
    bad &= set(range(len(texts)))
    # A worker that gives no answer, and does not say why, is at fault.
    code = "INPUT_TOO_LONG" if is_told else "INTERNAL_SERVER_ERROR"
    results = []
    for job in jobs:
        inside = [index for index in range(len(job.items)) if job.first_item + index in bad]
        failures = tuple(ItemFailure(index, code, "long") for index in inside if is_told)
        answers = echo_result(job).answers
        kept = tuple(b"" if index in inside else answers[index] for index in range(len(answers)))
        results.append(echo_result(job, answers=kept, item_failures=failures))
    assert of_one_revision(route, results)
    if len(bad) == len(texts):
        with pytest.raises(SIEError) as failed:
            assemble(asked, route, jobs, results)
        assert failed.value.code == code
        assert len(failed.value.details) == len(texts)
        return
    body = render(assemble(asked, route, jobs, results), total_ms=1.0, as_msgpack=as_msgpack)
    decoded = (msgspec.msgpack if as_msgpack else msgspec.json).decode(body)
    assert [entry["id"] for entry in decoded["items"]] == [item.id for item in asked.items]
    for index, entry in enumerate(decoded["items"]):
        if index in bad:
            assert entry["error"]["code"] == code
        elif not as_msgpack:
            assert entry["dense"]["values"] == [len(texts[index]), index, 0]


@given(
    st.lists(
        st.tuples(st.sampled_from(["tenant 'a'", "tenant 'b'"]), st.integers(1, 4), st.booleans()),
        max_size=15,
    ),
    st.integers(1, 6),
    st.data(),
)
def test_what_each_has_in_flight_is_held_to_its_own_caps_and_given_back_in_any_order(
    steps: list[tuple[str, int, bool]], items_max: int, data: st.DataObject
) -> None:
    shares, caps = Shares(), Caps(items_max, 100)
    running: list[tuple[str, int, ExitStack]] = []
    for whose, items, ends in steps:
        if ends and running:
            _, _, ended = running.pop(data.draw(st.integers(0, len(running) - 1)))
            ended.close()
        held = sum(count for who, count, _ in running if who == whose)
        request = ExitStack()
        if held and held + items > items_max:
            with pytest.raises(Later) as refused:
                request.enter_context(shares.taken(whose, caps, items=items, size=items))
            assert refused.value.code == "RATE_LIMIT"
        else:
            request.enter_context(shares.taken(whose, caps, items=items, size=items))
            running.append((whose, items, request))
        # Who has nothing under way is not remembered.
        assert len(shares) == len({who for who, _, _ in running})
    for _, _, request in running:
        request.close()
    assert len(shares) == 0


@given(TEXTS, st.integers(1, 7), st.data())
def test_an_answer_tells_the_slowest_of_its_jobs_all_their_tokens_and_each_worker(
    texts: list[str], items_max: int, data: st.DataObject
) -> None:
    asked, route = _asked("encode", texts), _route("org/dense", "encode")
    jobs = _jobs(asked, route, items_max)
    times = st.builds(Timing, *[st.sampled_from([0.0, 1.0, 2.5, 9.0])] * 3)
    results = [
        echo_result(
            job,
            worker_id=data.draw(st.sampled_from(["w1", "w2"])),
            timing=data.draw(times),
            input_tokens=data.draw(st.integers(0, 5)),
        )
        for job in jobs
    ]
    answer = assemble(asked, route, jobs, results)
    for name in Timing.__struct_fields__:
        assert getattr(answer, name) == max(getattr(each.timing, name) for each in results)
    assert answer.input_tokens == sum(each.input_tokens for each in results)
    assert answer.workers == tuple(sorted({each.worker_id for each in results}))
    told = msgspec.json.decode(render(answer, total_ms=12.3456, as_msgpack=False))
    slowest = {name: getattr(answer, name) for name in Timing.__struct_fields__}
    assert told["timing"] == {"total_ms": 12.346, **slowest}
    assert told["usage"] == {"input_tokens": answer.input_tokens}
    assert told["model"] == route.model_name


WORDS_ON_A_PAIR = st.fixed_dictionaries(
    {"score": st.sampled_from([-1.0, 0.0, 2.0])},
    optional={name: st.sampled_from([0.0, 0.5]) for name in Judged.__struct_fields__[1:]},
)


@given(st.lists(WORDS_ON_A_PAIR, min_size=1, max_size=9), st.integers(1, 7), st.booleans())
@example([{"score": 0.0, "relevance": 0.0, "logit": 0.0}], 1, False)
def test_a_ranking_is_sorted_and_tells_the_workers_word_on_each_pair_in_the_order_of_the_request(
    words: list[dict[str, float]], items_max: int, is_named: bool
) -> None:
    """In that order where scores are equal. A query without an id is told none."""
    asked, route = _asked("score", ["t"] * len(words)), _route("ranker", "score")
    query = Item(text="q", id="q1" if is_named else None)
    asked = msgspec.structs.replace(asked, query=query)
    results = []
    for job in _jobs(asked, route, items_max):
        told = words[job.first_item : job.first_item + len(job.items)]
        results.append(echo_result(job, answers=tuple(map(msgspec.msgpack.encode, told))))
    answer = assemble(asked, route, _jobs(asked, route, items_max), results)
    expected = sorted(enumerate(words), key=lambda pair: -pair[1]["score"])
    assert answer.fields == {
        "scores": [
            {"item_id": f"id{place}", "score": word["score"], "rank": rank}
            for rank, (place, word) in enumerate(expected)
        ],
        **({"query_id": "q1"} if is_named else {}),
    }
    assert answer.judged == tuple(Judged(**word) for _, word in expected)


@given(st.lists(st.none() | st.sampled_from(["item-0", "item-0-", "item-1", "x"]), min_size=1))
def test_an_item_without_an_id_is_given_one_that_no_other_item_has(given_ids: list[Any]) -> None:
    given_ids = [each for n, each in enumerate(given_ids) if each not in given_ids[:n] or not each]
    asked, route = _asked("score", ["t"] * len(given_ids)), _route("ranker", "score")
    items = [Item(text="t", id=each) for each in given_ids]
    asked = msgspec.structs.replace(asked, items=tuple(items))
    jobs = _jobs(asked, route, 3)
    scores = assemble(asked, route, jobs, [echo_result(job) for job in jobs]).fields["scores"]
    told = [entry["item_id"] for entry in scores]
    assert len(set(told)) == len(told)
    assert all(one == own for one, own in zip(told, given_ids, strict=True) if own)


def _fated(job: Job, fate: str, retry_after_s: float | None) -> JobResult:
    """The result of a job that came to this end."""
    answers = echo_result(job).answers
    if fate == "bad job":
        failure = JobFailure("INFERENCE_ERROR", "no", retry_after_s)
        return echo_result(job, failure=failure, answers=())
    if fate == "bad item":
        failed = (ItemFailure(len(job.items) - 1, "INPUT_TOO_LONG", "long"),)
        return echo_result(job, answers=(*answers[:-1], b""), item_failures=failed)
    # One answer too many: nobody knows whose they are.
    return echo_result(job, answers=(*answers, b"") if fate == "more" else answers)


@given(
    st.lists(st.sampled_from(["well", "bad item", "bad job", "more"]), min_size=1, max_size=4),
    st.integers(1, 3),
    st.sampled_from([None, None, 0.0, 2.5]),
    st.sampled_from(["encode", "encode", "score"]),
)
@example(["well", "bad job"], 1, None, "score")
@example(["well", "more"], 1, None, "encode")
@example(["bad item"], 1, None, "encode")
@example(["bad item", "well"], 1, None, "score")
def test_a_job_that_may_be_sent_again_is_told_before_every_answer_and_a_failed_one_for_each_item(
    fates: list[str], items_each: int, retry_after_s: float | None, operation: Operation
) -> None:
    texts = ["t"] * (items_each * len(fates))
    model = "ranker" if operation == "score" else "org/dense"
    asked, route = _asked(operation, texts), _route(model, operation)
    jobs = _jobs(asked, route, items_each)
    results = [_fated(job, fate, retry_after_s) for job, fate in zip(jobs, fates, strict=True)]
    bad = [
        first + n
        for number, fate in enumerate(fates)
        for first in [number * items_each]
        for n in range(items_each)
        if fate in ("bad job", "more") or (fate == "bad item" and n == items_each - 1)
    ]
    # A ranking with an item missing would mislead.
    is_lost = len(bad) == len(texts) or (operation == "score" and bad)
    if ("bad job" in fates and retry_after_s is not None) or is_lost:
        with pytest.raises(SIEError) as failed_all:
            assemble(asked, route, jobs, results)
        if failed_all.value.code == "INFERENCE_ERROR":
            # The whole job failed: no item of it is to blame.
            assert (failed_all.value.message, failed_all.value.field) == ("no", None)
        if failed_all.value.code == "INPUT_TOO_LONG":
            where = f"$.items[{bad[0]}]"
            # Where all failed it may be what they have in common.
            message = "long" if len(bad) == len(texts) else f"{where}: long"
            assert (failed_all.value.message, failed_all.value.field) == (message, where)
        return
    if operation == "score":
        assert len(assemble(asked, route, jobs, results).judged) == len(texts)
        return
    answer = assemble(asked, route, jobs, results)
    decoded = [msgspec.msgpack.decode(entry) for entry in answer.fields["items"]]
    assert [n for n, entry in enumerate(decoded) if "error" in entry] == bad
    assert answer.own_failures == {n for n in bad if fates[n // items_each] == "bad item"}


@given(
    st.sampled_from([1, 2, 150]),
    st.sampled_from(["INPUT_TOO_LONG", "OF_ANOTHER_RELEASE"]),
    st.sampled_from(["$.params", "$"]),
    st.sampled_from([None, "$.params.options.size", "$.items[0].text"]),
)
def test_the_failure_of_a_whole_job_has_a_code_of_ours_and_the_path_in_the_clients_form(
    count: int, code: str, params: str, field: str | None
) -> None:
    asked = msgspec.structs.replace(_asked("encode", ["t"] * count), params=params)
    route = _route("org/dense", "encode")
    jobs = _jobs(asked, route, 200)
    failure = JobFailure(code, f"{field}: it is wrong", field=field)
    results = [echo_result(job, failure=failure, answers=()) for job in jobs]
    with pytest.raises(SIEError) as failed:
        assemble(asked, route, jobs, results)
    told = field and field.replace("$.params", params)
    assert failed.value.code == ("INFERENCE_ERROR" if code.startswith("OF") else code)
    assert (failed.value.field, failed.value.message) == (told, f"{told}: it is wrong")
    assert [each["item_index"] for each in failed.value.details] == [*range(min(count, 100))]


@given(st.sampled_from([float("nan"), float("inf"), -float("inf"), "1", None, True]))
def test_a_score_that_is_no_number_is_no_rank(score: Any) -> None:
    asked, route = _asked("score", ["a", "b"]), _route("ranker", "score")
    jobs = _jobs(asked, route, 7)
    answers = tuple(msgspec.msgpack.encode({"score": each}) for each in (1.0, score))
    results = [echo_result(job, answers=answers) for job in jobs]
    if score is True:
        assert assemble(asked, route, jobs, results).judged[0].score == 1.0
        return
    with pytest.raises(SIEError) as failed:
        assemble(asked, route, jobs, results)
    assert failed.value.code == "INFERENCE_ERROR"


KINDS = st.tuples(st.sampled_from(["cpu", "l4"]), st.booleans(), st.booleans())


@given(st.lists(st.tuples(st.sampled_from("abc"), KINDS), max_size=12))
def test_a_worker_is_ready_under_the_kind_of_its_last_word_and_no_more_are_known_than_may_be(
    words: list[tuple[str, tuple[str, bool, bool]]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sie_gateway.fleet.fleet.WORKERS_MAX", 2)
        fleet = Fleet(6.0)
        last: dict[str, Heartbeat] = {}
        for worker_id, (profile, ready, leaving) in words:
            beat = heartbeat(worker_id, machine_profile=profile, ready=ready, leaving=leaving)
            fleet.heard(beat, now=0.0)
            last.pop(worker_id, None)
            if not leaving and len(last) < 2:
                last[worker_id] = beat
            assert fleet.seen.keys() == last.keys()
            for kind in {each.kind for each in last.values()} | {beat.kind}:
                wanted = {w for w, each in last.items() if each.ready and each.kind == kind}
                assert {each.worker_id for each in fleet.ready(kind, now=0.0)} == wanted


@given(TEXTS, st.integers(1, 7), st.data())
def test_one_job_at_another_revision_spoils_the_whole_answer(
    texts: list[str], items_max: int, data: st.DataObject
) -> None:
    lora = data.draw(st.sampled_from([None, "legal"]))
    asked, route = _asked("encode", texts), _route("org/dense", "encode", lora=lora)
    jobs = _jobs(asked, route, items_max)
    odd = data.draw(st.integers(0, len(jobs) - 1))
    other: dict[str, Any] = data.draw(
        st.sampled_from(
            [
                {"model_revision": "other"},
                {"adapter": {"name": "legal", "revision": "x"}},
                {"failure": JobFailure("REVISION_CHANGED", "gone"), "answers": ()},
            ]
        )
    )
    results = [echo_result(job, **(other if n == odd else {})) for n, job in enumerate(jobs)]
    assert not of_one_revision(route, results)


@given(
    st.floats(0.5, 50.0),
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.0, 1.0)), max_size=60),
)
def test_a_tenant_sends_its_rate_and_its_burst_and_no_more_whatever_others_do(
    per_s: float, burst: int, sent: list[tuple[str, float]]
) -> None:
    rates, alone = (Rates("tenant", per_s=per_s, burst=burst) for _ in range(2))
    taken: list[float] = []
    now = 0.0
    for tenant, pause_s in sent:
        now += pause_s
        outcome = _wait(rates, tenant, now)
        if tenant == "a":
            assert _wait(alone, "a", now) == outcome
            if outcome is None:
                taken.append(now)
            else:
                assert 0 < outcome <= 1 / per_s * 1.001
    for first, began in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - began) * per_s + 1e-4


@given(st.floats(0.5, 50.0), st.integers(1, 20))
def test_who_comes_again_when_told_is_taken_and_who_is_quiet_is_forgotten(
    per_s: float, burst: int
) -> None:
    rates = Rates("tenant", per_s=per_s, burst=burst)
    assert [_wait(rates, "a", 5.0) for _ in range(burst)] == [None] * burst
    wait_s = _wait(rates, "a", 5.0)
    assert wait_s is not None
    assert _wait(rates, "a", 5.0 + wait_s + 1e-9) is None
    for number in range(1000):
        _wait(rates, f"invented-{number}", 10.0 + (burst + 2) / per_s * (number + 1))
    assert len(rates) == 1


def _wait(rates: Rates, tenant: str, now: float) -> float | None:
    """The seconds that a request is told to wait; None where it is taken."""
    try:
        rates.take(tenant, now)
    except Later as error:
        assert error.code == "RATE_LIMIT"
        return error.retry_after_s
    return None
