"""Laws of loads: one at a time, none starves, an idle device never waits, a bounded share."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sie_worker.execution.loading import LoadTurns

NAMES = st.sampled_from("abcdef")
SHARE = 0.25


class LoadMachine(RuleBasedStateMachine):
    """A device whose models come and go, and a world that waits for them."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = LoadTurns(share=SHARE)
        self.now = 0.0
        self.waiting: dict[str, float] = {}
        """Since when an absent model is waited for."""
        self.running: tuple[str, float] | None = None
        self.pause_until = 0.0
        self.came_since = 0.0
        self.came: str | None = None
        """The model that was loaded last, while inputs still wait that it was loaded for."""

    @rule(name=NAMES)
    def an_input_comes_for_an_absent_model(self, name: str) -> None:
        if name != self.came and (self.running is None or self.running[0] != name):
            self.waiting.setdefault(name, self.now)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(idle=st.booleans(), fitting=st.sets(NAMES, max_size=2))
    def device_asks(self, idle: bool, fitting: set[str]) -> None:
        waiting = dict(self.waiting)
        if self.came is not None:
            waiting[self.came] = self.came_since
        picked = self.turns.pick(
            self.now, waiting, absent=self.waiting.keys(), idle=idle, fitting=fitting
        )
        may = set(self.waiting)
        if self.running is not None:
            may = set()
        elif not idle and (self.now < self.pause_until or self.came is not None):
            may &= fitting
        if picked is None:
            assert not may, "what may be loaded is loaded"
            return
        assert picked in may
        assert self.waiting[picked] == min(self.waiting[each] for each in may), "the oldest first"
        self.came_since = self.waiting.pop(picked)
        self.came = None
        self.turns.began(self.now)
        self.running = (picked, self.now)

    @precondition(lambda self: self.running is not None)
    @rule()
    def the_load_ends(self) -> None:
        assert self.running is not None
        took = self.now - self.running[1]
        self.pause_until = self.now + took * (1 - SHARE) / SHARE
        self.turns.ended(self.running[0], self.now)
        # A load that took no time is not told from one whose inputs came after it.
        self.came = self.running[0] if self.came_since < self.now else None
        self.running = None

    @rule()
    def what_came_runs(self) -> None:
        self.came = None

    @invariant()
    def it_says_when_to_ask_again(self) -> None:
        due = self.turns.due(self.now)
        if self.running is not None or self.now >= self.pause_until:
            assert due is None
        else:
            assert due == pytest.approx(self.pause_until)


TestLoads = LoadMachine.TestCase
TestLoads.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


@given(
    took=st.lists(st.floats(0.01, 2.0), min_size=1, max_size=6),
    share=st.floats(0.1, 1.0),
)
def test_a_model_waits_for_the_loads_before_its_own_and_their_pauses(
    took: list[float], share: float
) -> None:
    turns = LoadTurns(share=share)
    waiting = {str(place): float(place - len(took)) for place in range(len(took))}
    now = 0.0
    for place, seconds in enumerate(took):
        now = turns.due(now) or now
        # Younger ones that keep coming overtake nothing.
        waiting[f"young-{place}"] = now
        picked = turns.pick(now, waiting, absent=waiting.keys(), idle=False, fitting=())
        assert picked == str(place)
        assert now <= sum(took[:place]) / share + 1e-6
        del waiting[str(place)]
        turns.began(now)
        now += seconds
        turns.ended(str(place), now)


@given(
    took=st.floats(0.01, 2.0),
    since=st.floats(0.0, 5.0),
    later=st.floats(0.0, 100.0),
    runs=st.booleans(),
)
def test_a_model_is_not_loaded_over_one_whose_inputs_still_wait_however_long(
    took: float, since: float, later: float, runs: bool
) -> None:
    turns = LoadTurns(share=SHARE)
    waiting = {"first": 0.0, "second": since}
    assert turns.pick(0.0, waiting, absent={"first", "second"}, idle=True, fitting=()) == "first"
    turns.began(0.0)
    turns.ended("first", took)
    if runs:
        del waiting["first"]
    due = turns.due(took)
    now = (due if due is not None else took) + later

    picked = turns.pick(now, waiting, absent={"second"}, idle=False, fitting=())

    assert picked == ("second" if runs else None)
    assert turns.pick(now, waiting, absent={"second"}, idle=True, fitting=()) == "second"
    assert turns.pick(now, waiting, absent={"second"}, idle=False, fitting={"second"}) == "second"


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        LoadTurns(share=share)
