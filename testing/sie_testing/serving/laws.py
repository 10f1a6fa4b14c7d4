"""The laws of a world that serves: what is promised to a request, and what a run did with it.

*pure.* The oracle: it is told of every request, job, batch, receipt and end, and judges each where
it happens. `Broken` names the law and both values. Knows the config only as the history of
resolvers, and the right answer only as a hash of revision, adapter and text.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from sie_gateway.fleet.routing import Route
from sie_gateway.request.responses import Answer, render
from sie_schemas import arrays
from sie_schemas.errors import SIEError
from sie_schemas.fleet import WorkerKind
from sie_schemas.jobs import Job, subject
from sie_testing.processes.echo_execution import echo_vector
from sie_testing.serving.asking import Asking
from sie_testing.serving.execution import LETHAL, POISON
from sie_testing.serving.lease_table import LeaseBoard
from sie_testing.serving.models import History
from sie_testing.stage.broken import Broken

__all__ = ["CHECKS", "RELOAD_S", "Laws"]

CHECKS: Final = (
    "a batch runs what its jobs name",
    "a job goes where its epoch places the model",
    "a job ends when its result is confirmed or nobody waits",
    "a poisonous text fails alone",
    "a lease ends by its time or by a word",
    "a request outlives the move of its model",
    "a small tenant does not wait for the end of a flood",
    "a worker does not run again what it has answered",
    "after healing every request is answered",
    "an answer is of one revision, in order, right for its text and adapter",
    "an error has a cause",
    "clocks that differ change nothing",
    "leases take no more than their pool has",
    "nobody starves",
    "nothing is left in queue or tables",
    "nothing is run for who has left",
    "what is deleted is refused by its name",
    "without a cause nothing runs twice",
)
"""The laws that every campaign puts to the test."""

_DECODER: Final = msgspec.msgpack.Decoder()
_BEFORE_S: Final = 12.0
"""So long after a disturbance it may still be why a request fails."""
_LEFT_S: Final = 1.0
"""Until a word that a client has left has reached every worker."""
_ROUND_TRIP_MS: Final = 250.0
"""A worker knows the broker's time by half of a slow round trip to it."""
RELOAD_S: Final = 1.5
"""A device loads a model in 0.15 s at most, and in ten times that where it is slowed down."""
RETURN_S: Final = 3.0
"""From a death until whoever speaks with the process is as before. The next life begins after 0.1
to 1.1 s; then it connects, reads the registry and is heard of."""
_EVICTIONS: Final = 3
"""A batch may find so often in a row that its model has left (`sie_worker.device.device`)."""
_DEATHS: Final = 3
"""With so many processes gone under it, a job may have used up its deliveries."""


@dataclass(slots=True)
class Disturbance:
    """A fault, and when it had its hand on the world."""

    kind: str
    since: float
    until: float


@dataclass(slots=True)
class Laws:
    """All that was seen. `calm`: no fault of this run is a cause for anything."""

    history: History
    clock: Callable[[], float]
    calm: bool
    one_worker: bool
    leases: LeaseBoard
    kinds: frozenset[WorkerKind]
    """Those that a worker is of."""
    checks: Counter[str] = field(default_factory=Counter)
    asked: dict[str, Asking] = field(default_factory=dict)
    """By request id."""
    disturbances: list[Disturbance] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    deaths: list[float] = field(default_factory=list)
    evictions: list[float] = field(default_factory=list)
    """The times at which a model was made to leave a device."""
    early: set[str] = field(default_factory=set)
    """Jobs that the broker handed out twice although all was well."""
    _named: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """The (revision, adapter revision) that a job named for a text."""
    _jobs: dict[str, dict[str, None]] = field(default_factory=dict)
    """Job ids by text."""
    _texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By job id."""
    _confirmed: dict[str, set[str]] = field(default_factory=dict)
    """The lives of workers that a gateway gave a receipt for a job."""
    _begun: dict[str, float] = field(default_factory=dict)
    """The times at which a device was handed a text for the first time."""
    _ran: Counter[str] = field(default_factory=Counter)
    """Batches that ended well, by text."""

    # -- what happens --

    def begins(self, asking: Asking) -> None:
        """A client has sent a request."""
        self.asked[asking.request_id] = asking

    def published(self, job: Job) -> None:
        """A gateway has stored a job."""
        adapter = job.adapter.revision if job.adapter is not None else ""
        texts = tuple(item.text or "" for item in job.items)
        self._texts[job.job_id] = texts
        for text in texts:
            self._named.setdefault(text, set()).add((job.model_revision, adapter))
            self._jobs.setdefault(text, {})[job.job_id] = None

    def placed(self, job: Job, where: str) -> None:
        """A job, or the word of a large one, came to a subject of the queue."""
        self.checks["a job goes where its epoch places the model"] += 1
        asking = self.asked[_request_of(job.job_id)]
        lease = self.leases.spec_of(asking.lease)
        found = self.history.at(job.epoch).resolve(
            f"{job.model_id}:{job.profile}", pool=lease.queue_pool if lease is not None else None
        )
        right = [
            subject(found.pool, name, found.bundle, found.model_id)
            for name in found.machine_profiles
        ]
        if where not in right:
            raise Broken(f"{job.job_id} of {asking} goes to {where}; epoch {job.epoch} has {right}")

    def runs(self, text: str, revision: str, adapter: str, life: str) -> None:
        """A worker's device is handed a text."""
        self.checks["a batch runs what its jobs name"] += 1
        if (revision, adapter) not in self._named.get(text, set()):
            raise Broken(
                f"text {text[:24]!r} is run at {revision[:8]}+{adapter[:8]}; its jobs name "
                + " or ".join(f"{r[:8]}+{a[:8]}" for r, a in sorted(self._named.get(text, set())))
            )
        jobs = self._jobs[text]
        self.checks["a worker does not run again what it has answered"] += 1
        if all(life in self._confirmed.get(job, ()) for job in jobs):
            raise Broken(f"{life} runs {', '.join(jobs)} again, whose receipt it was given")
        self._begun.setdefault(text, self.clock())
        self._check_wanted(text)

    def _check_wanted(self, text: str) -> None:
        asking = self.asked[_request_of(next(iter(self._jobs[text])))]
        if self.calm and asking.end == "left" and self.clock() - asking.ended_at > _LEFT_S:
            raise Broken(
                f"{asking} is run at {self.clock():.3f}; its client left at {asking.ended_at:.3f}"
            )

    def began_by(self, asking: Asking, at: float) -> bool:
        """True if all texts of a request had been handed to a device at a moment."""
        return all(self._begun.get(text, at + 1) <= at for text in asking.texts)

    def gateway_of(self, text: str) -> str:
        """The gateway that a text was sent through; empty where nobody sent it."""
        job = next(iter(self._jobs.get(text, ())), None)
        return self.asked[_request_of(job)].gateway if job is not None else ""

    def ran(self, text: str) -> None:
        """A batch with a text ended well."""
        self._ran[text] += 1

    def confirmed(self, job_id: str, life: str) -> None:
        """A gateway gave one life of a worker a receipt for a job."""
        self._confirmed.setdefault(job_id, set()).add(life)

    def job_ended(self, job_id: str, word: str, *, waits: bool) -> None:
        """The queue was told that a job is done, for which a gateway waits or not."""
        self.checks["a job ends when its result is confirmed or nobody waits"] += 1
        if waits and job_id not in self._confirmed:
            asking = self.asked[_request_of(job_id)]
            raise Broken(f"{job_id} is ended by {word!r}: no receipt names it, and {asking} waits")

    def disturbed(self, kind: str, lasts_s: float = 0.0) -> None:
        """Something happened that may be a cause."""
        now = self.clock()
        self.disturbances.append(Disturbance(kind, now, now + lasts_s))

    def died(self) -> None:
        """A process is gone, and what it had in hand with it."""
        self.disturbed("a death", RETURN_S)
        self.deaths.append(self.clock())

    def evicted(self) -> None:
        """A model has left a device, by the world's hand."""
        self.evictions.append(self.clock())

    def heals(self) -> None:
        """No hand is on the world any more."""
        now = self.clock()
        for each in self.disturbances:
            each.until = min(each.until, now)

    # -- how a request ends --

    def answered(self, asking: Asking, answer: Answer) -> None:
        """A client got an answer."""
        self._ends(asking, "answered")
        self.checks["an answer is of one revision, in order, right for its text and adapter"] += 1
        route = answer.route
        if not asking.epoch <= route.position.epoch <= len(self.history.resolvers):
            raise Broken(f"{asking} began at epoch {asking.epoch}; answered at {route.position}")
        resolver = self.history.at(route.position.epoch)
        revision = resolver.resolve(asking.model).revision
        told = dict(route.headers)[b"x-sie-model-revision"].decode()
        if told != revision:
            raise Broken(f"{asking} is answered at {told[:8]}; {route.position} has {revision[:8]}")
        adapter = ""
        if asking.adapter:
            adapter = resolver.adapter(asking.model, asking.adapter).revision
        body = _DECODER.decode(render(answer, total_ms=0.0, as_msgpack=True))
        if len(body["items"]) != len(asking.texts):
            raise Broken(f"{asking} has {len(body['items'])} answers")
        for text, entry in zip(asking.texts, body["items"], strict=True):
            self._check_entry(asking, text, entry, revision, adapter)
        lasted_ms = (self.clock() - asking.begun_at) * 1000
        if not 0 <= answer.queue_ms <= lasted_ms + _ROUND_TRIP_MS:
            raise Broken(f"{asking} waited for {answer.queue_ms:.1f} of {lasted_ms:.1f} ms")
        self._check_once(asking)
        self._note_move(asking, route)

    def _note_move(self, asking: Asking, route: Route) -> None:
        """Count where a request ended in another place than it began for."""
        began = self.history.at(asking.epoch).models.get(asking.model)
        ended = self.history.head.models.get(asking.model)
        if began is not None and ended is not None and not asking.lease:
            places = [(each["pool"], each["profiles"]) for each in (began, ended)]
            self.checks["a request outlives the move of its model"] += places[0] != places[1]

    def _check_entry(
        self, asking: Asking, text: str, entry: dict[str, Any], revision: str, adapter: str
    ) -> None:
        name = text[:24]
        if entry.get("id") != name:
            raise Broken(f"{asking}: in the place of {name} stands {entry.get('id')}")
        if "error" in entry:
            code = entry["error"]["code"]
            self.checks["a poisonous text fails alone"] += text.startswith(POISON)
            if not text.startswith(POISON) and not self._may_fail(asking, code):
                raise Broken(f"{asking}: {name} fails by {code}, and is no poison")
            return
        if text.startswith(POISON):
            raise Broken(f"{asking}: {name} is poison, and has an answer")
        found = tuple(arrays.from_wire(entry["dense"]["values"]).tolist())
        right = echo_vector(revision, adapter, text)
        if found != right:
            raise Broken(f"{asking}: the vector of {name} is {found[:3]}…; right is {right[:3]}…")

    def _check_once(self, asking: Asking) -> None:
        if not self.calm or not (self.one_worker or not self._was_early(asking)):
            return
        if self._may_run_again(asking):
            return
        self.checks["without a cause nothing runs twice"] += 1
        for text in asking.texts:
            if not text.startswith(POISON) and self._ran[text] != 1:
                raise Broken(f"{asking}: {text[:24]} was run {self._ran[text]} times")

    def _may_run_again(self, asking: Asking) -> bool:
        """True if its model was moved: by the epoch before its own, where a gateway lagged, on."""
        since = max(1, asking.epoch - 1)
        found = [each.models.get(asking.model) for each in self.history.resolvers[since - 1 :]]
        places = [(each["pool"], each["profiles"]) for each in found if each is not None]
        return not asking.lease and any(place != places[0] for place in places)

    def _was_early(self, asking: Asking) -> bool:
        return any(job in self.early for text in asking.texts for job in self._jobs.get(text, ()))

    def failed(self, asking: Asking, error: SIEError) -> None:
        """A client got an error."""
        self._ends(asking, error.code)
        self.checks["an error has a cause"] += 1
        if not self._may_fail(asking, error.code):
            raise Broken(f"{asking} fails without a cause: {error.code}, {error.message}")

    def went_cold(self, asking: Asking, kind: WorkerKind) -> None:
        """A client was told that there is no worker of that kind."""
        self._ends(asking, "cold")
        self.checks["an error has a cause"] += 1
        if kind in self.kinds and not self._is_disturbed(asking):
            raise Broken(f"{asking} finds no worker, and nothing has happened to any")

    # -- leases --

    def lease_is_absent(self, name: str, since: float) -> None:
        """A client is told that its lease is not there, which it was told of at a moment."""
        self.checks["a lease ends by its time or by a word"] += 1
        if not self.leases.was_absent(name, since):
            raise Broken(f"lease {name} is there since {since:.3f}; a gateway says that it is not")

    def lease_is_refused(self, name: str, since: float) -> None:
        """A client is told that there is no room for its lease."""
        if not self.leases.had_another(name, since):
            raise Broken(f"lease {name} is refused for want of room, and there is no other one")

    def lease_is_unheard(self, name: str, code: str) -> None:
        """A client was told nothing of its lease."""
        if self.calm:
            raise Broken(f"lease {name}: {code}, and nothing has happened to any gateway")

    def left(self, asking: Asking) -> None:
        """A client hung up: from now on what a device is handed of it is looked at."""
        self._ends(asking, "left")
        self.checks["nothing is run for who has left"] += self.calm

    def lost(self, asking: Asking) -> None:
        """A client's gateway died."""
        self._ends(asking, "lost")
        if self.calm:
            raise Broken(f"{asking} lost its gateway, which nobody harmed")

    def _ends(self, asking: Asking, end: str) -> None:
        if asking.end:
            raise Broken(f"{asking} ended as {asking.end}, and now as {end}")
        asking.end, asking.ended_at = end, self.clock()

    # -- causes --

    def _may_fail(self, asking: Asking, code: str) -> bool:
        now = self.clock()
        match code:
            case "MODEL_NOT_FOUND" | "ADAPTER_NOT_FOUND":
                self.checks["what is deleted is refused by its name"] += 1
                return self.history.lacks(asking.model, asking.epoch)
            case "POOL_NOT_FOUND":
                return bool(asking.lease) and self.leases.was_absent(asking.lease, asking.begun_at)
            case "INFERENCE_ERROR":
                deaths = [at for at in self.deaths if asking.begun_at - _LEFT_S <= at <= now]
                own = asking.has(POISON) or asking.has(LETHAL)
                return own or len(deaths) >= _DEATHS
            case "MODEL_LOADING":
                since = asking.begun_at - RELOAD_S
                return sum(since <= at <= now for at in self.evictions) > _EVICTIONS
            case "REVISION_CHANGED":
                since = asking.begun_at - _BEFORE_S
                return sum(at >= since for at in self.changes) > 1
            case "QUEUE_UNAVAILABLE" | "NOT_READY" | "PROVISIONING":
                return self._is_disturbed(asking)
            case _:
                return False

    def _is_disturbed(self, asking: Asking) -> bool:
        if self.calm:
            return False
        now, since = self.clock(), asking.begun_at - _BEFORE_S
        return any(each.until >= since and each.since <= now for each in self.disturbances)

    # -- at the end --

    def open_requests(self) -> Sequence[Asking]:
        """Those without an end."""
        return [asking for asking in self.asked.values() if not asking.end]


def _request_of(job_id: str) -> str:
    """`r7.3` and `r7-again1.3` are jobs of `r7`."""
    return job_id.rpartition(".")[0].partition("-again")[0]
