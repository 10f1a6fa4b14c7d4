"""Walks on a cluster of single roles: certificates, letters, JetStream, a barred path, releases.

*shell.* They want what `sie up` has not: see `runbook_roles`.
"""

import asyncio
import subprocess
from collections.abc import Mapping
from typing import Final

from tests.support.certificates import Authority
from tests.support.polling import until_told
from tests.support.runbook_roles import OTHER_RELEASE, STORE_BYTES_MAX, RolesWorld
from tests.support.runbook_walk import Walk, nothing
from tests.support.runbook_world import World

from sie_testing.processes.programs import program_path

__all__ = ["ROLES"]

_DAYS_LEFT: Final = 3
"""Within two weeks, and more than one day."""
_LARGE: Final = STORE_BYTES_MAX // 5
"""Five such jobs are more than the alert's eight tenths."""


def _roles(world: World) -> RolesWorld:
    assert isinstance(world, RolesWorld), "this walk wants roles on their own"
    return world


# -- certificates --


async def _ends_soon(world: World) -> None:
    _renewed_for(_roles(world), days=_DAYS_LEFT)


async def _ends_today(world: World) -> None:
    _renewed_for(_roles(world), days=1)


async def _renewed(world: World) -> None:
    _renewed_for(_roles(world), days=30)


def _renewed_for(world: RolesWorld, *, days: int) -> None:
    world.authority.signed("gateway", days=days, into=world.own["gateway"])


async def _broker_told(world: World) -> None:
    """The broker's own certificate, taken by the page's own command."""
    found = _roles(world)
    broker = found.programs["nats"]
    found.authority.signed("nats", into=found.own["nats"])
    words = f"--signal reload={broker.pid}"
    command = [program_path("nats-server"), *words.split()]
    await asyncio.to_thread(subprocess.run, command, check=True)

    async def is_taken() -> bool:
        return b"Reloaded: tls" in broker.log.read_bytes()

    await until_told(is_taken)


async def _one_of_ones_own(world: World) -> None:
    """First its issuer is trusted everywhere, then it is shown."""
    found = _roles(world)
    ours = Authority(found.folder / "ours", "ours")
    ca = found.authority.ca
    ca.write_bytes(ca.read_bytes() + ours.ca.read_bytes())
    ours.signed("gateway", into=found.own["gateway"])


# -- jobs --


async def _execution_dies(world: World) -> None:
    """The last delivery of two jobs ends with the process that ran them."""
    found = _roles(world)
    echo = found.programs["echo"]
    found.kept["letter"] = 1
    echo.pause()
    asking = [asyncio.create_task(found.ask(f"takes a device down {each}")) for each in range(2)]
    await until_told(lambda: _in_hand(found, 2))
    await echo.kill()
    assert min(answer.status_code for answer in await asyncio.gather(*asking)) >= 500


async def _in_hand(world: World, count: int) -> bool:
    rows = await world.server.query("sum(sie_worker_items_in_hand)")
    return bool(rows) and float(rows[0]["value"][1]) >= count


async def _next_letter(world: World) -> None:
    world.kept["letter"] += 1


async def _mended(world: World) -> None:
    await _roles(world).programs["echo"].start()
    await world.serves()


async def _jetstream_fills(world: World) -> None:
    """Model execution stands, and jobs with long texts wait."""
    found = _roles(world)
    found.programs["echo"].pause()
    asking = [asyncio.create_task(found.ask("x" * _LARGE)) for _ in range(5)]
    found.kept["asking"] = asking


async def _emptied(world: World) -> None:
    found = _roles(world)
    found.programs["echo"].resume()
    answers = await asyncio.gather(*found.kept.pop("asking"))
    assert {answer.status_code for answer in answers} == {200}


# -- the log and its replicas --


async def _barred(world: World) -> None:
    """A gateway that was away needs entries that only sie-config has, and may not reach it."""
    found = _roles(world)
    gateway = found.programs["gateway"]
    await gateway.kill()
    for number in range(3):
        assert await found.write(f"missed-{number}") in {200, 201}
    log = str(found.log_file.parent)
    await found.typed(["sie", "log", "compact", "--keep", "1", "--url", found.config, log])
    found.bar.shut()
    await gateway.start()


async def _reached(world: World) -> None:
    _roles(world).bar.lift()


async def _older_release(world: World) -> None:
    await _roles(world).programs["older"].start()


async def _rollout_ended(world: World) -> None:
    await _roles(world).programs["older"].stop()


ROLES: Final[Mapping[str, Walk]] = {
    "SieDeadLetters": Walk(
        _execution_dies,
        {"Mend the model": _mended, "runs a job again": _next_letter},
        words=lambda world: {"NUMBER": str(world.kept["letter"])},
        shows=("INFERENCE_ERROR",),
        doctor="2 jobs failed for good",
        world="roles",
    ),
    "SieJetStreamFills": Walk(
        _jetstream_fills,
        {"More workers empty": _emptied},
        ("Else a larger claim",),
        doctor="JetStream is nearly full",
        world="roles",
    ),
    "SieCertificateEndsSoon": Walk(
        _ends_soon,
        {
            "Renew it": _renewed,
            "The process takes them up": nothing,
            "A broker of your own takes it": _broker_told,
        },
        doctor="The certificate of the gateway ends within 3 days",
        world="roles",
    ),
    "SieCertificateEnds": Walk(
        _ends_today,
        {"The same, now": nothing, "put in one of your own": _one_of_ones_own},
        doctor="The certificate of the gateway ends within 1 day",
        world="roles",
    ),
    "SieReplicaBehind": Walk(
        _barred,
        {"Let it reach sie-config": _reached},
        words=lambda world: {"ROLE": "gateway", "ID": "local"},
        shows=("false",),
        world="roles",
    ),
    "SieReleasesMixed": Walk(
        _older_release, {"End the rollout": _rollout_ended}, shows=(OTHER_RELEASE,), world="roles"
    ),
}
