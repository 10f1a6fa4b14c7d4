"""Laws of a worker's death: who is over, and which jobs are given back, when."""

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.gateway_world import MemoryBus, heartbeat

from sie_gateway.fleet.fleet import Fleet
from sie_gateway.fleet.lives import LIVES_MAX, LIVES_OF_ONE_MAX, Life, Lives
from sie_gateway.fleet.watch import FleetWatch
from sie_gateway.request.giving_back import GivenBack, Limits, Out, Why, due, went
from sie_schemas.fleet import WorkerKind

DOUBT_S, DEAD_S = 1.5, 3.0
KIND = WorkerKind("default", "cpu", "default")
LIMITS = Limits(pause_s=DEAD_S, deliveries_max=5, suspect_after=2)


# ---- lives --------------------------------------------------------------------------------------


@dataclass
class _Model:
    """The truth about one life, told in other words."""

    word_at: float
    doubted: bool = False
    gone: bool = False


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["heard", "leaves", "answers", "gone"]),
        st.sampled_from([("w1", "aa"), ("w1", "bb"), ("w2", "cc")]),
        st.sampled_from([0.0, 0.1, 1.0]) | st.floats(0, 4),
    ),
    max_size=25,
)


def _lived(steps: list[tuple[str, tuple[str, str], float]]) -> tuple[Lives, dict[Life, _Model]]:
    lives, known, now = Lives(doubt_s=DOUBT_S, dead_s=DEAD_S), dict[Life, _Model](), 100.0
    for what, (worker_id, name), pause in steps:
        now += pause
        life = Life(worker_id, name, KIND)
        if what in {"heard", "leaves"}:
            if life not in known:
                for other, model in known.items():
                    model.doubted = model.doubted or other.worker_id == worker_id
            known[life] = _Model(now, doubted=what == "leaves")
            leaving = what == "leaves"
            lives.heard(heartbeat(worker_id, life=name, leaving=leaving), now)
        elif life in known and what == "answers":
            known[life] = _Model(now)
            lives.answered(life, now)
        elif life in known:
            known[life].gone = True
            lives.not_there(life)
    return lives, known


@example([("heard", ("w1", "aa"), 0.0), ("heard", ("w1", "bb"), 0.1)], 0.1)
@given(_STEPS, st.sampled_from([0.0, 0.1, 1.0]) | st.floats(0, 8))
def test_a_life_is_over_when_nobody_listens_and_stuck_when_somebody_does_and_says_nothing(
    steps: list[tuple[str, tuple[str, str], float]], later: float
) -> None:
    lives, known = _lived(steps)
    now = 100.0 + sum(pause for _, _, pause in steps) + later
    silence = {life: now - model.word_at for life, model in known.items()}
    over = {life for life, model in known.items() if model.gone}
    stuck = {life for life in known if life not in over and silence[life] >= DEAD_S}
    assert set(lives.over()) == over
    assert set(lives.stuck(now)) == stuck
    assert set(lives.living(KIND, now)) == known.keys() - over - stuck
    assert set(lives.doubtful(now)) == {
        life
        for life, model in known.items()
        if not model.gone and (model.doubted or silence[life] >= DOUBT_S)
    }


@given(_STEPS)
def test_who_has_just_come_to_hear_takes_nobody_for_dead(
    steps: list[tuple[str, tuple[str, str], float]],
) -> None:
    lives, _ = _lived([step for step in steps if step[0] == "heard"])
    now = 1000.0
    lives.hear_from(now)
    assert not lives.can_judge(now + DOUBT_S - 0.01)
    assert lives.stuck(now + DEAD_S - 0.01) == []
    assert lives.can_judge(now + DOUBT_S)


def test_two_processes_of_one_name_that_both_answer_both_live() -> None:
    lives = Lives(doubt_s=DOUBT_S, dead_s=DEAD_S)
    one, two = (Life("w", name, KIND) for name in ("aa", "bb"))
    for now in (1.0, 2.0):
        for life in (one, two):
            lives.heard(heartbeat("w", life=life.name), now)
            for doubted in lives.doubtful(now):
                lives.answered(doubted, now)
    assert lives.over() == []
    assert set(lives.living(KIND, 2.0)) == {one, two}


def test_a_release_that_cannot_be_asked_is_never_taken_for_over() -> None:
    lives = Lives(doubt_s=DOUBT_S, dead_s=DEAD_S)
    lives.heard(heartbeat("old"), 1.0)
    assert lives.doubtful(2.9) == []
    assert [life.worker_id for life in lives.living(KIND, 2.9)] == ["old"]
    lives.forget_old(4.1)
    assert len(lives.stuck(4.1)) == 1
    lives.forget_old(100.0)
    assert len(lives) == 0


def test_lives_that_somebody_invents_are_bounded_and_push_nobody_out() -> None:
    lives = Lives(doubt_s=DOUBT_S, dead_s=DEAD_S)
    lives.heard(heartbeat("w", life="own"), 1.0)
    own = Life("w", "own", KIND)
    for number in range(1000):
        lives.heard(heartbeat("w", life=f"{number:x}"), 1.0)
    assert len(lives) == LIVES_OF_ONE_MAX
    for number in range(LIVES_MAX + 1000):
        lives.heard(heartbeat(f"w{number}", life="aa", leaving=True), 1.0)
    assert len(lives) == LIVES_MAX
    assert own in lives.living(KIND, 1.0)
    for life in lives.living(KIND, 1.0):
        lives.forget(life)
    lives.heard(heartbeat("late", life="aa"), 2.0)
    assert lives.living(KIND, 2.0) == [Life("late", "aa", KIND)]


def test_the_fleet_forgets_the_life_that_is_over_and_not_the_one_after_it() -> None:
    fleet = Fleet(ttl_s=6.0)
    fleet.heard(heartbeat("w", life="aa"), now=1.0)
    fleet.over("w", "bb")
    fleet.over("x", "aa")
    assert [beat.worker_id for beat in fleet.live(now=1.0)] == ["w"]
    fleet.over("w", "aa")
    assert fleet.live(now=1.0) == []


# ---- giving back --------------------------------------------------------------------------------

_JOBS = st.lists(
    st.builds(
        lambda sequence, deaths, more, at: (sequence, GivenBack(deaths + more, deaths, at)),
        st.integers(1, 30),
        st.integers(0, 4),
        st.integers(0, 2),
        st.sampled_from([float("-inf"), 0.0, 90.0, 99.0]),
    ),
    unique_by=lambda job: job[0],
    max_size=12,
)


@given(
    _JOBS,
    st.sets(st.integers(1, 30)),
    st.integers(0, 30),
    st.sampled_from(["over", "stuck", "turn"]),
    st.data(),
)
def test_nothing_is_given_back_that_is_held_or_was_never_out_and_one_suspect_at_a_time(
    drawn: list[tuple[int, GivenBack]],
    holding: set[int],
    last: int,
    why: Why,
    data: st.DataObject,
) -> None:
    jobs = [Out(f"j{sequence}", sequence, state) for sequence, state in drawn]
    before = {job.job_id: (job.given.times, job.given.deaths) for job in jobs}
    suspects = {job.job_id for job in jobs if job.given.deaths >= LIMITS.suspect_after}
    tried = data.draw(st.sampled_from([None, *sorted(suspects)]))
    for job in jobs:
        job.given.on_trial = job.job_id == tried
    held = {f"j{sequence}" for sequence in holding}
    found = due(jobs, held=held, last=last, why=why, limits=LIMITS, now=100.0)
    assert {job.job_id: (job.given.times, job.given.deaths) for job in jobs} == before
    went(found, why=why, limits=LIMITS, now=100.0)
    names = [job.job_id for job in found]
    assert len(set(names)) == len(names)
    assert all(job.sequence <= last and job.job_id not in held for job in found)
    assert len(suspects & set(names)) <= 1
    is_out = tried is not None and any(j.job_id == tried and j.sequence <= last for j in jobs)
    assert not is_out or suspects & set(names) <= {tried}, "one is on trial already"
    if why == "over":
        lost = {job.job_id for job in jobs if job.sequence <= last} - held - suspects
        assert lost <= set(names), "a death gives back all that it held"
    if why == "turn":
        assert set(names) <= suspects
    for job in jobs:
        times, deaths = before[job.job_id]
        given = job.job_id in names
        assert job.given.times == times + given
        assert job.given.deaths == deaths + (given and why == "over")


@given(st.lists(st.floats(0, 60), min_size=1, max_size=40))
def test_a_stopped_worker_that_takes_a_job_each_time_leaves_it_deliveries(
    pauses: list[float],
) -> None:
    job, now, given_at = Out("j", 1, GivenBack()), 0.0, list[float]()
    for pause in pauses:
        now += pause
        found = due([job], held=(), last=1, why="stuck", limits=LIMITS, now=now)
        went(found, why="stuck", limits=LIMITS, now=now)
        if found:
            given_at.append(now)
    assert given_at[0] == pauses[0], "the first time at once"
    # The first delivery, and one for each time that it was given back.
    assert 1 + len(given_at) <= LIMITS.deliveries_max - 1
    for times, (before, after) in enumerate(pairwise(given_at), start=1):
        assert after - before >= DEAD_S * 2**times


@given(
    st.none() | st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 20)),
    st.integers(1, 7),
    st.integers(20, 60),
)
def test_a_job_of_a_stuck_worker_goes_out_again_after_its_pause_while_deliveries_are_left(
    before: tuple[int, bool, int] | None, deliveries_max: int, now: int
) -> None:
    limits = Limits(pause_s=1.0, deliveries_max=deliveries_max)
    times, on_trial, at = before or (0, False, float("-inf"))
    state = GivenBack(times, 2 * on_trial, at, on_trial) if before else GivenBack()
    job = Out("j", 1, state)
    is_left = on_trial or times < deliveries_max - 2
    found = due([job], held=(), last=1, why="stuck", limits=limits, now=float(now))
    assert found == ([job] if is_left and now - at >= 2.0**times else [])


def test_a_job_is_a_suspect_from_its_second_death_on() -> None:
    job, limits = Out("j", 1, GivenBack()), Limits(pause_s=1.0, deliveries_max=9)
    turns = list[int]()
    for _ in range(3):
        # Where only suspects have their turn, an innocent job stays.
        turns.append(len(due([job], held=(), last=1, why="turn", limits=limits, now=0.0)))
        went([job], why="over", limits=limits, now=-100.0)
    assert turns == [0, 0, 1]


@dataclass
class _Queue:
    """A consumer as the broker keeps it, with one worker after another behind it."""

    jobs: dict[str, Out]
    poison: str
    queued: list[str] = field(default_factory=list)
    out: list[str] = field(default_factory=list)
    deliveries: dict[str, int] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    buried: set[str] = field(default_factory=set)

    def take(self) -> list[str]:
        """A worker takes all that is queued; what has no delivery left is found by the sweeper."""
        taken, self.queued = self.queued, []
        for job_id in taken:
            if self.deliveries.get(job_id, 0) == LIMITS.deliveries_max:
                self.buried.add(job_id)
                del self.jobs[job_id]
            else:
                self.deliveries[job_id] = self.deliveries.get(job_id, 0) + 1
                self.out.append(job_id)
        return [job_id for job_id in taken if job_id in self.jobs]

    def run(self, order: list[str]) -> bool:
        """The worker runs them; whether it died of it. What it held then stays out."""
        for job_id in order:
            if job_id == self.poison:
                return True
            self.out.remove(job_id)
            self.answered.add(job_id)
            del self.jobs[job_id]
        return False

    def give_back(self, why: Why, now: float) -> None:
        """As the gateway does."""
        last = max((job.sequence for job in self.jobs.values()), default=0)
        found = due(self.jobs.values(), held=(), last=last, why=why, limits=LIMITS, now=now)
        went(found, why=why, limits=LIMITS, now=now)
        for job in found:
            # What is queued already stays as it is.
            if job.job_id in self.out:
                self.out.remove(job.job_id)
                self.queued.append(job.job_id)


@given(st.integers(1, 8), st.randoms(use_true_random=False), st.booleans())
def test_a_job_that_kills_every_worker_is_found_and_takes_no_innocent_one_with_it(
    count: int, random: object, poison_first: bool
) -> None:
    names = [f"j{number}" for number in range(count + 1)]
    shuffled = sorted(names, key=lambda _: random.random())  # type: ignore[attr-defined]
    poison = shuffled[0]
    jobs = {name: Out(name, number + 1, GivenBack()) for number, name in enumerate(names)}
    queue = _Queue(jobs, poison, queued=list(names))
    now = 0.0
    for _ in range(10 * len(names)):
        taken = queue.take()
        order = sorted(taken, key=lambda _: random.random())  # type: ignore[attr-defined]
        if poison_first and poison in order:
            order = [poison, *(name for name in order if name != poison)]
        now += DEAD_S
        queue.give_back("over" if queue.run(order) else "turn", now)
        if not queue.jobs:
            break
    assert queue.answered == set(names) - {poison}
    assert queue.buried == {poison}
    assert queue.deliveries[poison] == LIMITS.deliveries_max


# ---- the watch ----------------------------------------------------------------------------------


class _TimedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time, in seconds, passes only by hand."""

    at = 100.0

    def time(self) -> float:
        return self.at


_WORDS = st.lists(
    st.tuples(
        st.sampled_from(["ready", "loading", "leaves", "over", "connects"]),
        st.sampled_from(["w1", "w2"]),
        st.sampled_from([0.5, DEAD_S]),
    ),
    max_size=12,
)


@given(_WORDS)
@example([("ready", "w1", 0.5), ("ready", "w1", 0.5), ("over", "w1", 0.5), ("ready", "w1", 0.5)])
@example([("loading", "w1", 0.5), ("ready", "w1", 0.5), ("ready", "w2", 0.5)])
@example([("connects", "w1", DEAD_S), ("connects", "w1", 0.5)])
def test_the_watch_wakes_for_a_newly_ready_worker_and_tells_of_deaths_and_reconnections(
    words: list[tuple[str, str, float]],
) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, _TimedLoop)
        bus, lives = MemoryBus(), Lives(doubt_s=DOUBT_S, dead_s=DEAD_S)
        watch = FleetWatch(bus, ttl_s=1000.0, settle_s=DEAD_S, lives=lives)
        await watch.open()
        known, connected_at = dict[str, bool](), None
        for what, name, pause in words:
            waits = asyncio.ensure_future(watch.more_ready())
            await asyncio.sleep(0)
            if what == "connects":
                watch.begin()
                connected_at = loop.at
            elif what == "over":
                watch.forget(Life(name, "aa", KIND))
                known.pop(name, None)
            else:
                word = heartbeat(name, life="aa", ready=what == "ready", leaving=what == "leaves")
                await bus.publish(f"sie.health.{name}", msgspec.msgpack.encode(word))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert waits.done() == (what == "ready" and not known.get(name, False))
            waits.cancel()
            if what in {"ready", "loading"}:
                known[name] = what == "ready"
            elif what == "leaves":
                known.pop(name, None)
            assert watch.fleet.seen.keys() == known.keys()
            loop.at += pause
            judges = connected_at is None or loop.at - connected_at >= DOUBT_S
            assert watch.can_judge() == judges
        await watch.close()

    with asyncio.Runner(loop_factory=_TimedLoop) as runner:
        runner.run(run())
