"""The walks of the runbooks: what breaks a cluster for each alert, and what a person does then.

`python -m tests.support.runbook_walks [ALERT …]` walks all or some, as `sie soak --runbooks` does.
Commands and queries are the page's own (`runbook_pages`). A sentence of **Do** that is no command
has its act here, by words that have to stand in it; one that nobody does fails the walk.
"""

import asyncio
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from tests.support.live_cluster import MODEL
from tests.support.polling import until_told
from tests.support.runbook_breaks import (
    BROKEN,
    an_older_history,
    edited_by,
    made_until,
    model_that_does_not_load,
    nobody_of_that_kind,
    pauses_in_commits,
    rights_given,
    rights_taken,
    slow_answers,
    the_file_is_damaged,
    the_file_is_restored,
    two_models_in_turns,
)
from tests.support.runbook_disks import DISKS
from tests.support.runbook_pages import PAGE, Section, is_query, query_of, sections, typed
from tests.support.runbook_role_walks import ROLES
from tests.support.runbook_roles import roles_on_their_own
from tests.support.runbook_walk import Act, Walk, nothing
from tests.support.runbook_world import World, broken_on_purpose

__all__ = ["WALKS", "WORLDS", "Walk", "follow", "main", "started"]

_SETTLES_S: Final = 30.0
_ALERTS_S: Final = 120.0
_ENDS_S: Final = 180.0
_SHORT: Final[Mapping[str, str]] = {
    "SIE_GATEWAY_REQUEST_TIMEOUT_S": "150",
    "SIE_CONFIG_QUEUE_MESSAGES_MAX": "10",
    "SIE_CONFIG_DEAD_LETTER_PAYLOADS": "true",
    "SIE_WORKER_DEAD_LETTER_PAYLOADS": "true",
}
WORLDS: Final[Mapping[str, Mapping[str, str]]] = {
    "plain": _SHORT,
    "tight": {"SIE_SERVER_MEMORY_BYTES_MAX": "120000000"},
    "starved": {"SIE_SERVER_HOST_BYTES_MIN": str(10**15)},
    "small": {"HF_HUB_CACHE": "{folder}/hub"},
}
"""The settings of each cluster of `sie up` that walks share; `roles` has no `sie up`."""


async def _thaw(world: World) -> None:
    world.thaw()


async def _bytes_again(world: World) -> None:
    world.bytes_again()


def _frozen(*roles: str) -> Act:
    async def freeze(world: World) -> None:
        world.freeze(*roles)

    return freeze


def _no_more_bytes(role: str) -> Act:
    async def limit(world: World) -> None:
        world.no_more_bytes(role)
        for number in range(40):
            await world.write(f"full-{number}", description="x" * 400)

    return limit


async def _one_more_change(world: World) -> None:
    await world.write("once-more", description=str(time.monotonic_ns()))


async def _broker_away(world: World) -> None:
    world.freeze("nats")
    told = await world.write("meanwhile", description=str(time.monotonic_ns()))
    assert told in {200, 201}, "writes are committed all the same"


async def _jobs_wait(world: World) -> None:
    await _held(world, 1)


async def _queue_fills(world: World) -> None:
    await _held(world, 9)


async def _held(world: World, count: int) -> None:
    """Model execution stands, and so many requests wait for it."""
    world.freeze("server-0")
    world.kept["asking"] = [
        asyncio.create_task(world.ask(f"held {number}")) for number in range(count)
    ]


async def _held_are_answered(world: World) -> None:
    world.thaw()
    answers = await asyncio.gather(*world.kept.pop("asking"))
    assert {answer.status_code for answer in answers} == {200}


async def _worker_restarted(world: World) -> None:
    """A stuck worker is killed; the jobs that it had are answered by the next."""
    stuck = world.pid("server-0")
    world.kill("worker-0")
    world.kill("server-0")
    world.frozen.discard(stuck)
    await _held_are_answered(world)


async def _execution_restarted(world: World) -> None:
    stuck = world.pid("server-0")
    world.kill("server-0")
    world.frozen.discard(stuck)


async def _others_resynced(world: World) -> None:
    """Each replica that is still forked, by the command of the page, and then the writer."""
    command = next(
        span
        for span in sections(PAGE.read_text())["SieTwoHistories"].spans
        if span.startswith("sie replica resync")
    )
    answer = await world.http.get(f"{world.config}/v1/configs/replicas")
    for each in answer.json()["replicas"]:
        if each["state"] == "forked":
            await world.typed(typed(command, {"ROLE": each["role"], "ID": each["id"]}))
    world.kill("config")


async def _reverted(world: World) -> None:
    words = ["sie", "revert", world.kept["before"], f"model/{BROKEN}"]
    await world.typed(words)


async def _asked_again_and_again(world: World) -> None:
    async def alerts() -> bool:
        await world.ask()
        return await world.alerting("SieMemoryShort")

    await until_told(alerts, within_s=_ALERTS_S)


WALKS: Final[Mapping[str, Walk]] = {
    # First: among the good requests of others it takes more slow ones.
    "SieSlowBurnsFast": Walk(
        made_until("SieSlowBurnsFast", slow_answers),
        elsewhere=("Busy devices", "Loads again", "Long batches"),
    ),
    "SieSlowBurnsSlowly": Walk(
        made_until("SieSlowBurnsSlowly", slow_answers),
        {"Nothing tonight": nothing},
        ("long texts",),
        fresh=False,
        ends=False,
    ),
    "SieErrorsBurnFast": Walk(
        model_that_does_not_load,
        words=lambda world: (
            {"MODEL": BROKEN, "model/MODEL": f"model/{BROKEN}"} | {"EPOCH": world.kept["before"]}
        ),
        shows=("MODEL_LOAD_FAILED",),
        elsewhere=("As the code says",),
    ),
    "SieErrorsBurnSlowly": Walk(
        model_that_does_not_load,
        {"Find the model or the client": _reverted},
        shows=(BROKEN,),
        fresh=False,
        ends=False,
    ),
    "SieGatewayAbsent": Walk(_frozen("gateway"), {"Start the gateways": _thaw}),
    "SieCapacityDoesNotCome": Walk(
        nobody_of_that_kind,
        words=lambda world: {"NAME": "default"},
        variables=edited_by,
        elsewhere=("Let the nodes come",),
        ends=False,
    ),
    "SieQueueWaits": Walk(
        _jobs_wait,
        {"A worker that is stuck is restarted": _worker_restarted},
        ("Busy: more",),
        silent=("sie_server_device_busy_seconds_total",),
    ),
    "SieQueueFills": Walk(
        _queue_fills, {"More workers": _held_are_answered}, ("A flood of one tenant",)
    ),
    "SieExecutionDown": Walk(
        _frozen("server-0"),
        {"restart the node": _execution_restarted},
        ("take the node out", "Memory:"),
    ),
    "SieModelsThrash": Walk(
        two_models_in_turns,
        elsewhere=("More workers of that kind", "Or pin those"),
        shows=(MODEL,),
        ends=False,
        world="tight",
    ),
    "SieMemoryShort": Walk(
        _asked_again_and_again,
        elsewhere=("SIE_SERVER_MEMORY_BYTES_MAX", "For `host`"),
        ends=False,
        world="starved",
    ),
    "SieConfigAbsent": Walk(
        _frozen("config"), {"As the line says": _thaw}, ("For a `401`",), shows=("config",)
    ),
    "SieWritesRefused": Walk(
        _no_more_bytes("config"),
        {"Free space, mend the disk": _bytes_again, "goes on by itself": nothing},
        # The chaos program fills its disk.
        ("A broker whose disk was full",),
        shows=("STORAGE_FAILED",),
    ),
    "SieCommitsSlow": Walk(
        made_until("SieCommitsSlow", pauses_in_commits),
        elsewhere=("Give the log a disk of its own",),
        ends=False,
    ),
    "SiePublishLags": Walk(_broker_away, {"Mend the broker": _thaw, "Nothing is lost": nothing}),
    "SieBrokerAway": Walk(
        _broker_away, {"Start the brokers": _thaw, "What their disks lost": nothing}
    ),
    "SieReplicaFilesFail": Walk(
        _no_more_bytes("gateway"),
        {"Free space or mend": _bytes_again, "next change": _one_more_change},
    ),
    "SieBrokerRefuses": Walk(
        rights_taken,
        {"After an upgrade": rights_given},
        ("Else change that password",),
        ends=False,
    ),
    # Those that a fault of their own would leave to the others come last.
    "SieLogInRecovery": Walk(
        the_file_is_damaged,
        {
            "Missing entries come back": nothing,
            "Else restore the file": the_file_is_restored,
            "Never delete it": nothing,
        },
        words=lambda world: {"URL": world.config},
        shows=("damaged",),
    ),
    "SieTwoHistories": Walk(
        an_older_history,
        {"Stop the other writer": nothing, "then restart sie-config": _others_resynced},
        ("To keep the other one",),
        words=lambda world: {"ROLE": "gateway", "ID": "local"},
        shows=("forked",),
        ends=False,
    ),
    "SieReplicaStopped": Walk(
        an_older_history,
        {"`forked`": _others_resynced},
        ("`halted`: upgrade", "`quarantined`: restart"),
        shows=("forked",),
    ),
    **DISKS,
    **ROLES,
}


def started(name: str, folder: Path) -> AbstractAsyncContextManager[World]:
    """The cluster by that name, which walks share."""
    if name in WORLDS:
        return broken_on_purpose(folder, **WORLDS[name])
    return roles_on_their_own(folder)


async def follow(world: World, alert: str, section: Section) -> None:
    """Break the cluster, look where the page looks, do what it says, and see that it helps."""
    walk = WALKS[alert]
    if walk.fresh:
        # A scrape that a busy machine lost is no fault: it is gone with the next.
        await until_told(lambda: _is_silent(world, alert), within_s=_SETTLES_S)
    await walk.breaks(world)
    await until_told(lambda: world.alerting(alert), within_s=_ALERTS_S)
    words, variables = walk.words(world), walk.variables(world)
    await _looked(world, walk, section, words, variables)
    for sentence in section.sentences:
        # Anew for each: of two letters the second is what is left after the first.
        await _do(world, walk, sentence, walk.words(world), variables)
    await world.serves()
    if walk.ends:
        await until_told(lambda: _is_over(world, alert), within_s=_ENDS_S)


async def _looked(
    world: World,
    walk: Walk,
    section: Section,
    words: Mapping[str, str],
    variables: Mapping[str, str],
) -> None:
    if walk.doctor:
        diagnosis = await world.typed(["sie", "doctor", *world.doctor_options])
        assert walk.doctor in diagnosis, diagnosis
    said = ""
    for span in section.look_spans:
        if is_query(span):
            rows = await world.server.query(query_of(span))
            assert rows or span in walk.silent, f"{span} shows nothing"
            said += repr(rows)
        elif span.startswith("sie "):
            said += await world.typed(typed(span, words), variables)
        elif span == "/readyz":
            said += await world.ready()
    missing = [each for each in walk.shows if each not in said]
    assert not missing, f"what the page looks at does not show {missing}: {said[-2000:]}"


async def _do(
    world: World,
    walk: Walk,
    sentence: str,
    words: Mapping[str, str],
    variables: Mapping[str, str],
) -> None:
    done = any(each in sentence for each in walk.elsewhere)
    for span in sentence.split("`")[1::2]:
        if span.startswith("sie "):
            await world.typed(typed(span, words), variables)
            done = True
    for phrase, act in walk.acts.items():
        if phrase in sentence:
            await act(world)
            done = True
    assert done, f"nobody does: {sentence}"


async def _is_silent(world: World, alert: str) -> bool:
    return not await world.alerting(alert)


async def _is_over(world: World, alert: str) -> bool:
    # A share of bad requests falls with good ones.
    await world.asked(40)
    return not await world.alerting(alert)


async def _walk_all(alerts: Sequence[str]) -> int:
    page = sections(PAGE.read_text())
    failed = 0
    for name in (*WORLDS, "roles"):
        chosen = [alert for alert in alerts if WALKS[alert].world == name]
        if not chosen:
            continue
        with tempfile.TemporaryDirectory(prefix="sie-runbooks-") as folder:
            async with started(name, Path(folder) / name) as world:
                for alert in chosen:
                    failed += not await _told(world, alert, page[alert])
    _say(f"{len(alerts) - failed} of {len(alerts)} pages were followed")
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def _told(world: World, alert: str, section: Section) -> bool:
    began = time.monotonic()
    try:
        await follow(world, alert, section)
    except Exception:
        _say(f"{alert}: FAILS\n{traceback.format_exc()}")
        world.thaw()
        return False
    _say(f"{alert}: followed, {time.monotonic() - began:.0f} s")
    return True


def main(argv: Sequence[str]) -> int:
    """Walk the alerts that are named, or all of them; the exit status."""
    unknown = [each for each in argv if each not in WALKS]
    if unknown:
        _say(f"no walk: {', '.join(unknown)}; there are {', '.join(WALKS)}")
        return 2
    return asyncio.run(_walk_all(list(argv) or list(WALKS)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
