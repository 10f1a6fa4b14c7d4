"""The faults of a world that serves: what each does, and how it ends.

*shell.* A fault acts on the world at once, and leaves behind a timer that takes it back where that
is due. `heal` takes everything back. One that waits for its occasion counts when it finds it. Those
of `GENTLE` are no cause for anything that a client could see.
"""

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from sie_testing.serving.ground import ServingGround
from sie_testing.serving.laws import RETURN_S
from sie_testing.serving.models import ADAPTERS, MODELS
from sie_testing.stage.broker import BROKER, Connection
from sie_testing.stage.process import Process
from sie_testing.stage.run import inject

if TYPE_CHECKING:
    from sie_testing.serving.world import ServingWorld

__all__ = ["FAULTS", "GENTLE", "LOADS", "MOVES", "heal", "inject_some"]

LOADS: Final = frozenset({"poison", "lethal", "long", "leaving", "leasing"})
"""Kinds of request that are faults of clients."""
MOVES: Final = frozenset({"bundle-moved", "model-deleted", "pool-moved"})
"""Faults after which a model is run elsewhere, or nowhere."""
GENTLE: Final = frozenset(
    {
        *MOVES,
        "adapter-changed",
        "clocks-apart",
        "delivered-early",
        "device-slow",
        "leases-forgotten",
        "model-changed",
        "models-evicted",
    }
)
_LATER: Final = frozenset(
    {"clocks-apart", "killed-at-a-word", "killed-at-a-delivery", "words-lost"}
)
_LONGEST_S: Final = 5.0
_BETWEEN_S: Final = 1.2
_SKEW_S: Final = 7200.0
"""Far beyond every limit of a request, as a wrong time zone is."""
_WORDS: Final = {
    "a job": "sie.work.",
    "a result": "sie.result.",
    "a receipt": "sie.answer.worker.",
    "a word on a job": "$JS.ACK.",
    "a question": "sie.holding.",
    "what it holds": "sie.answer.gateway.",
    "a cancellation": "sie.cancel.",
}


async def inject_some(world: "ServingWorld", kinds: Sequence[str], count: int) -> None:
    """Do `count` faults of these kinds."""
    await inject(world, FAULTS, kinds, count, between_s=_BETWEEN_S, later=_LATER)


def heal(world: "ServingWorld") -> None:
    """Take every fault back, and let every process live."""
    world.trace.say("world", "heals")
    world.network.mend_all()
    world.broker.start()
    world.broker.words_to_lose = 0
    world.overhears = lambda sender, subject, data: True
    world.broker.on_delivery = lambda to, job, count: None
    for execution in world.executions:
        execution.slow_down(1.0)
    for process in world.processes:
        process.resume()
        process.start()
    if world.history.bring_home():
        _changed(world, "every model is at home")
    world.laws.heals()


# ---- processes ----------------------------------------------------------------------------------


def _kill(world: "ServingWorld", process: Process[ServingGround]) -> str:
    if not process.kill():
        return ""
    world.laws.died()
    return process.name


def _pause(world: "ServingWorld", rng: random.Random, process: Process[ServingGround]) -> str:
    lasts_s = rng.random() * _LONGEST_S
    if not process.pause():
        return ""
    world.laws.disturbed("a pause", lasts_s)
    world.later(lasts_s, process.resume)
    return f"{process.name} for {lasts_s:.1f} s"


def _gateway_killed(world: "ServingWorld", rng: random.Random) -> str:
    return _kill(world, rng.choice(world.gateways))


def _gateway_paused(world: "ServingWorld", rng: random.Random) -> str:
    return _pause(world, rng, rng.choice(world.gateways))


def _sidecar_killed(world: "ServingWorld", rng: random.Random) -> str:
    return _kill(world, rng.choice(world.workers))


def _sidecar_paused(world: "ServingWorld", rng: random.Random) -> str:
    return _pause(world, rng, rng.choice(world.workers))


def _sidecar_stopped(world: "ServingWorld", rng: random.Random) -> str:
    worker = rng.choice(world.workers)
    if not worker.end():
        return ""
    world.laws.disturbed("a sidecar was stopped", 5.0)
    return worker.name


def _execution_killed(world: "ServingWorld", rng: random.Random) -> str:
    return _kill(world, rng.choice(world.executions))


def _execution_paused(world: "ServingWorld", rng: random.Random) -> str:
    return _pause(world, rng, rng.choice(world.executions))


def _machine_killed(world: "ServingWorld", rng: random.Random) -> str:
    number = rng.randrange(len(world.workers))
    _kill(world, world.executions[number])
    return _kill(world, world.workers[number])


def _killed_at_a_word(world: "ServingWorld", rng: random.Random) -> str:
    """Whoever says such a word next dies with it: the word goes out, or it does not."""
    word, begins = rng.choice(sorted(_WORDS.items()))
    goes_out = rng.random() < 0.5
    by_name = {process.name: process for process in world.processes}

    def overhears(sender: Connection, subject: str, data: bytes) -> bool:
        process = by_name.get(sender.host.name)
        if not subject.startswith(begins) or process is None or process.host is not sender.host:
            return True
        world.overhears = lambda sender, subject, data: True
        said = "with" if goes_out else "before"
        world.trace.say("fault", f"{process.name} dies {said} {word} ({subject})")
        if _kill(world, process):
            world.took_effect("killed-at-a-word")
        return goes_out

    world.overhears = overhears
    return f"whoever says {word} next"


def _killed_at_a_delivery(world: "ServingWorld", rng: random.Random) -> str:
    """The worker that is handed a job next dies some moments later: at any step with it."""
    by_name = {worker.name: worker for worker in world.workers}
    after_s = rng.random() ** 3 * 0.5

    def delivered(to: Connection, _job: object, _count: int) -> None:
        worker = by_name.get(to.host.name)
        if worker is None:
            return
        world.broker.on_delivery = lambda to, job, count: None

        def die() -> None:
            if _kill(world, worker):
                world.took_effect("killed-at-a-delivery")

        world.later(after_s, die)

    world.broker.on_delivery = delivered
    return f"{after_s:.3f} s after"


# ---- the network and the broker -----------------------------------------------------------------


def _link_cut(world: "ServingWorld", rng: random.Random) -> str:
    process = rng.choice([*world.gateways, *world.workers])
    lasts_s = rng.random() * _LONGEST_S
    world.network.cut(process.name, BROKER)
    world.laws.disturbed("a link was cut", lasts_s + RETURN_S)
    world.later(lasts_s, lambda: world.network.mend(process.name, BROKER))
    return f"{process.name} and the broker for {lasts_s:.1f} s"


def _broker_restarted(world: "ServingWorld", rng: random.Random) -> str:
    return _restart(world, rng, lambda: 0) and "and forgets nothing"


def _jobs_forgotten(world: "ServingWorld", rng: random.Random) -> str:
    return _restart(world, rng, lambda: world.broker.forget(rng, 1.0, jobs=True))


def _ends_forgotten(world: "ServingWorld", rng: random.Random) -> str:
    return _restart(world, rng, lambda: world.broker.forget(rng, 2.0, jobs=False))


def _restart(world: "ServingWorld", rng: random.Random, forget: Callable[[], int]) -> str:
    """The broker is killed; what it comes back with. Counts where it forgot what it should."""
    if not world.broker.up:
        return ""
    lasts_s = 0.2 + rng.random() * 2.0
    world.broker.stop()
    forgot = forget()
    world.laws.disturbed("the broker died", lasts_s + RETURN_S)
    world.later(lasts_s, world.broker.start)
    return f"{forgot} words of it" if forgot else "nothing"


def _words_lost(world: "ServingWorld", rng: random.Random) -> str:
    """The next words of workers on their jobs do not arrive."""
    world.broker.words_to_lose = rng.randint(1, 4)
    world.laws.disturbed("words of workers were lost", 10.0)
    return f"{world.broker.words_to_lose} of them"


# ---- gentle ones --------------------------------------------------------------------------------


def _delivered_early(world: "ServingWorld", rng: random.Random) -> str:
    """A job that somebody has in hand is handed out once more."""
    job = world.broker.hand_out_early(rng)
    if job is None:
        return ""
    world.laws.early.add(job.job_id)
    return job.job_id


def _device_slow(world: "ServingWorld", rng: random.Random) -> str:
    execution = rng.choice(world.executions)
    slowness = rng.choice((3.0, 6.0, 10.0))
    execution.slow_down(slowness)
    world.later(rng.random() * _LONGEST_S, lambda: execution.slow_down(1.0))
    return f"{execution.name} takes {slowness:g} times as long"


def _models_evicted(world: "ServingWorld", rng: random.Random) -> str:
    execution = rng.choice(world.executions)
    if execution.device is None or not execution.device.loaded:
        return ""
    revision = rng.choice(list(execution.device.loaded))
    execution.device.evict(revision)
    world.laws.evicted()
    return f"{world.history.name_of[revision]} on {execution.name}"


def _model_changed(world: "ServingWorld", rng: random.Random) -> str:
    model = rng.choice(MODELS)
    world.history.change_model(model)
    return _changed(world, model)


def _adapter_changed(world: "ServingWorld", rng: random.Random) -> str:
    model, name = rng.choice(MODELS), rng.choice(ADAPTERS)
    world.history.change_adapter(model, name)
    return _changed(world, f"{model}+{name}")


def _pool_moved(world: "ServingWorld", rng: random.Random) -> str:
    """A model goes to the other pool, at its revision."""
    model = rng.choice(MODELS)
    return _changed(world, f"{model} to {world.history.move_pool(model)}")


def _bundle_moved(world: "ServingWorld", rng: random.Random) -> str:
    """A model gets another backend, which the other bundle runs: another revision."""
    model = rng.choice(MODELS)
    return _changed(world, f"{model} to {world.history.move_bundle(model)}")


def _model_deleted(world: "ServingWorld", rng: random.Random) -> str:
    """A model and its adapters are deleted, and come back in a while."""
    model, changed = rng.choice(MODELS), rng.random() < 0.5
    if not world.history.delete_model(model):
        return ""

    def put_back() -> None:
        if world.history.put_back(model, changed=changed):
            world.trace.say("fault", _changed(world, f"{model} is back"))

    world.later(rng.random() * _LONGEST_S, put_back)
    return _changed(world, model)


def _clocks_apart(world: "ServingWorld", rng: random.Random) -> str:
    """The clock of a gateway leaps, ahead or back. A worker looks at none."""
    process = rng.choice(world.gateways)
    process.skew_s = rng.uniform(-_SKEW_S, _SKEW_S)
    return f"{process.name} {process.skew_s:+.0f} s"


def _leases_forgotten(world: "ServingWorld", rng: random.Random) -> str:
    """The broker's bucket of leases is gone, and what was in it."""
    return ", ".join(world.leases.forget())


def _changed(world: "ServingWorld", what: str) -> str:
    world.laws.changes.append(world.loop.time())
    world.hear_config()
    return f"{what} at epoch {len(world.history.resolvers)}"


Fault = Callable[["ServingWorld", random.Random], str]
FAULTS: Final[dict[str, Fault]] = {
    "adapter-changed": _adapter_changed,
    "bundle-moved": _bundle_moved,
    "broker-restarted": _broker_restarted,
    "clocks-apart": _clocks_apart,
    "delivered-early": _delivered_early,
    "device-slow": _device_slow,
    "ends-forgotten": _ends_forgotten,
    "execution-killed": _execution_killed,
    "execution-paused": _execution_paused,
    "gateway-killed": _gateway_killed,
    "gateway-paused": _gateway_paused,
    "jobs-forgotten": _jobs_forgotten,
    "killed-at-a-delivery": _killed_at_a_delivery,
    "killed-at-a-word": _killed_at_a_word,
    "leases-forgotten": _leases_forgotten,
    "link-cut": _link_cut,
    "machine-killed": _machine_killed,
    "model-changed": _model_changed,
    "model-deleted": _model_deleted,
    "models-evicted": _models_evicted,
    "pool-moved": _pool_moved,
    "sidecar-killed": _sidecar_killed,
    "sidecar-paused": _sidecar_paused,
    "sidecar-stopped": _sidecar_stopped,
    "words-lost": _words_lost,
}
