"""The adversary's actions on a real cluster, in their order: a function of the seed.

*pure.* The whole list is drawn before anything runs, against a model of what is down, stopped or
cut. So the same seed does the same things however the cluster takes them. Each action says how much
of the load has to have ended before the next one comes: waits are on what is observed.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["PROCESS_FAULTS", "Action", "actions_of", "link_names", "process_names"]

_OPEN_MAX: Final = 3
"""Faults that last at the same time: with more of them nothing is left to be loaded."""
_PACE: Final = (10, 60)
_DELAYS_S: Final = (0.02, 0.1, 0.3)
_WAYS: Final = ("up", "down", "up down")

_KILLED: Final = {
    "broker-killed": "broker",
    "config-killed": "config",
    "gateway-killed": "gateway",
    "worker-killed": "worker",
    "execution-killed": "execution",
}
_PAUSED: Final = {kind.replace("killed", "paused"): role for kind, role in _KILLED.items()}
_LINKS: Final = {"link-cut": "cut", "link-held": "hold", "link-slow": "slow"}
_SINGLE: Final = {
    "stream-wiped": "wipe stream",
    "broker-wiped": "wipe broker",
    "backup-taken": "back up",
    "backup-restored": "restore",
    "volume-lost": "lose volume",
    "replica-wiped": "wipe replica",
    "low-water-moved": "compact",
}
_OFTEN: Final = {"backup-restored": 2}
"""A kind that needs something before it: drawn as often as others, it would be rare."""
PROCESS_FAULTS: Final = (*_KILLED, *_PAUSED, *_LINKS, *_SINGLE)
"""The kinds of fault."""
_ENDS: Final = {"kill": "start", "pause": "resume", "cut": "mend", "hold": "mend", "slow": "mend"}


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that is done. `kind` is its fault, empty where it ends one."""

    verb: str
    who: str
    detail: str
    kind: str
    pace: int
    """Writes and requests that have to end before the next action."""

    def __str__(self) -> str:
        return " ".join(part for part in (self.verb, self.who, self.detail) if part)


def process_names(replicas: int) -> tuple[str, ...]:
    """Every process: half of the replicas, rounded up, are gateways, the rest workers."""
    workers = replicas // 2
    return (
        "broker",
        "config",
        *(f"gateway-{n}" for n in range(replicas - workers)),
        *(f"worker-{n}" for n in range(workers)),
        *(f"execution-{n}" for n in range(workers)),
    )


def link_names(replicas: int) -> tuple[str, ...]:
    """Every link, `from-to`; the clients' own way to a gateway is not one of them."""
    names = [name for name in process_names(replicas) if name.startswith(("gateway", "worker"))]
    return (
        "client>config",
        *(f"{name}>broker" for name in ("config", *names)),
        *(f"{name}>config" for name in names),
    )


def actions_of(
    seed: int, *, steps: int, replicas: int, faults: Sequence[str] = PROCESS_FAULTS
) -> tuple[Action, ...]:
    """So many faults of these kinds, with the ends of those that last in between."""
    return _Drawing(seed, replicas, tuple(faults)).draw(steps)


class _Drawing:
    def __init__(self, seed: int, replicas: int, faults: tuple[str, ...]) -> None:
        self._rng = random.Random(f"actions of {seed}")
        self._processes = process_names(replicas)
        self._links = link_names(replicas)
        self._faults = faults
        self._weights = [_OFTEN.get(kind, 1) for kind in faults]
        self._lasting: dict[str, str] = {}
        """The processes and links that are down, stopped or cut, and the verb that did it."""
        self._backups = 0

    def draw(self, steps: int) -> tuple[Action, ...]:
        found: list[Action] = []
        begun = 0
        while begun < steps and self._faults:
            ends = self._lasting and self._rng.random() < len(self._lasting) / _OPEN_MAX
            action = self._end() if ends else self._begin()
            begun += bool(action.kind)
            found.append(action)
        return tuple(found)

    def _end(self) -> Action:
        who = self._rng.choice(sorted(self._lasting))
        return self._action(_ENDS[self._lasting.pop(who)], who, "", "")

    def _begin(self) -> Action:
        # Until one is found that can happen now.
        for _ in range(20):
            [kind] = self._rng.choices(self._faults, self._weights)
            action = self._fault(kind)
            if action is not None:
                return action
        return self._end() if self._lasting else self._backup("backup-taken")

    def _fault(self, kind: str) -> Action | None:
        if kind in _KILLED:
            return self._last("kill", self._process(_KILLED[kind]), "", kind)
        if kind in _PAUSED:
            return self._last("pause", self._process(_PAUSED[kind]), "", kind)
        if kind in _LINKS:
            verb = _LINKS[kind]
            ways = self._rng.choice(_WAYS) if verb == "hold" else ""
            delay = f"{self._rng.choice(_DELAYS_S):g}" if verb == "slow" else ""
            return self._last(verb, self._free(self._links), ways or delay, kind)
        return self._single(kind)

    def _single(self, kind: str) -> Action | None:
        verb = _SINGLE[kind]
        if kind == "backup-taken":
            return self._backup(kind)
        if kind in ("backup-restored", "volume-lost"):
            if not self._backups:
                return self._backup("backup-taken")
            if "config" in self._lasting:
                return None
            return self._action(verb, "config", f"{self._rng.randrange(self._backups)}", kind)
        if kind == "replica-wiped":
            who = self._process(self._rng.choice(("gateway", "worker")))
            return self._action(verb, who, "", kind) if who else None
        if kind == "low-water-moved":
            return self._action(verb, "config", f"{self._rng.randint(1, 30)}", kind)
        return None if "broker" in self._lasting else self._action(verb, "broker", "", kind)

    def _backup(self, kind: str) -> Action:
        self._backups += 1
        return self._action("back up", "config", "", kind)

    def _last(self, verb: str, who: str, detail: str, kind: str) -> Action | None:
        if not who:
            return None
        self._lasting[who] = verb
        return self._action(verb, who, detail, kind)

    def _process(self, role: str) -> str:
        return self._free([name for name in self._processes if name.startswith(role)])

    def _free(self, names: Sequence[str]) -> str:
        """One to which nothing is being done; empty where there is none."""
        free = [name for name in names if name not in self._lasting]
        return self._rng.choice(free) if free else ""

    def _action(self, verb: str, who: str, detail: str, kind: str) -> Action:
        return Action(verb, who, detail, kind, self._rng.randint(*_PACE))
