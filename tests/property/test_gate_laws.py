"""The laws of the gates: they judge the state before a write and the one that it would leave."""

import contextlib
from collections import Counter
from collections.abc import Collection, Sequence

from hypothesis import given
from hypothesis import strategies as st

from sie_config.writer.dark import Live, Names
from sie_config.writer.gates import OPEN, Gates, Step
from sie_core.registry import Entity, Registry
from sie_schemas.errors import FixRequest

NAMES = Names(frozenset(), {})


def _registry(keys: set[int]) -> Registry:
    return Registry.of(
        Entity("model", f"m{key}", 1, b'{"pool":"default","profiles":{}}') for key in keys
    )


@st.composite
def _removals(draw: st.DrawFn) -> tuple[set[int], set[int]]:
    """A registry, and what of it goes: often as much as is just let pass, or one more."""
    size = draw(st.integers(0, 60))
    edges = st.sampled_from([3, 4, size // 5, size // 5 + 1]).filter(lambda count: count <= size)
    count = draw(st.integers(0, size) if size < 4 else edges | st.integers(0, size))
    return set(range(size)), set(range(count))


@given(
    removals=_removals(),
    added=st.sets(st.integers(0, 90), max_size=50),
    forced=st.sampled_from(["", "", "on purpose"]),
)
def test_more_than_three_and_more_than_a_fifth_want_a_reason(
    removals: tuple[set[int], set[int]], added: set[int], forced: str
) -> None:
    before, gone = removals
    # What comes again with the same write is not gone, and is rare here.
    added -= set(sorted(gone)[1:])
    after = (before - gone) | added
    touched = [("model", f"m{key}") for key in sorted(gone | added)]
    removed = len(before - after)
    refused = True
    with contextlib.suppress(FixRequest):
        step = Step("", {"model.put"}, touched, _registry(before), _registry(after))
        OPEN.check(step, lambda: NAMES, forced=forced, is_trial=False)
        refused = False

    assert refused == (not forced and removed > 3 and 5 * removed > len(before))


class _Counting:
    """Replicas of which some use every model and cannot read some kinds; counts the questions."""

    def __init__(self, *, use: bool, lack: frozenset[str]) -> None:
        self.asked: Counter[str] = Counter()
        self._use = use
        self._lack = lack

    def lacking(self, kinds: Collection[str], log_id: str) -> Sequence[str]:
        self.asked["lacking"] += 1
        return ["worker w1"] if self._lack & set(kinds) else []

    def users_of(self, model_ids: Sequence[str]) -> dict[str, list[str]]:
        self.asked["users_of"] += 1
        return {model_id: ["w1 has it loaded"] for model_id in model_ids if self._use}

    def live(self) -> Live:
        self.asked["live"] += 1
        return Live()


@given(
    before=st.sets(st.integers(0, 3)),
    after=st.sets(st.integers(0, 3)),
    kinds=st.sets(st.sampled_from(["model.put", "model.delete"]), min_size=1),
    lack=st.frozensets(st.sampled_from(["model.put", "model.delete"])),
    use=st.booleans(),
    forced=st.sampled_from(["", "on purpose"]),
    is_trial=st.booleans(),
    entities_max=st.none() | st.integers(0, 4),
)
def test_each_gate_asks_once_and_a_reason_opens_those_that_are_about_use(
    before: set[int],
    after: set[int],
    kinds: set[str],
    lack: frozenset[str],
    use: bool,
    forced: str,
    is_trial: bool,
    entities_max: int | None,
) -> None:
    replicas = _Counting(use=use, lack=lack)
    touched = [("model", f"m{key}") for key in sorted(before ^ after)]
    step = Step("log", kinds, touched, _registry(before), _registry(after))
    code = ""
    try:
        Gates(replicas, entities_max).check(step, lambda: NAMES, forced=forced, is_trial=is_trial)
    except FixRequest as error:
        code = error.code

    assert not replicas.asked or max(replicas.asked.values()) == 1
    too_many = entities_max is not None and len(after) > max(entities_max, len(before))
    if lack & kinds:
        assert code == "ENTITY_CONFLICT"
    elif too_many:
        assert code == "PAYLOAD_TOO_LARGE"
    else:
        is_refused = not forced and bool(before - after) and (use or len(before - after) > 3)
        assert code == ("FORCE_REQUIRED" if is_refused else "")
    if forced and not is_trial:
        assert replicas.asked.keys() <= {"lacking"}, "nobody is asked on behalf of a forced write"
