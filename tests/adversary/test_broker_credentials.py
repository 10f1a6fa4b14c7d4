"""Somebody has the broker's credential of a role and speaks to the broker as a script does.

A worker's, a gateway's or an operator's password leads to no entry on the log, to no word in
another role's name, to no stream and no consumer, and to no text of another role or pool.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from tests.support.log_world import Replica, Writer, follower, free_port, metric, same, writer
from tests.support.nats import nats_server
from tests.support.polling import until, until_told

from sie_cli.plan.broker import ROLES, BrokerPlan, render
from sie_config.writer.writer_state import Serving
from sie_core.apply import preview
from sie_runtime.broker.bus import BusSettings, connected_bus
from sie_runtime.streams.provisions import Provisions, ProvisionSettings
from sie_schemas.entry import build_entry, put, to_envelope

pytestmark = pytest.mark.integration

THIEVES = ("gateway", "worker", "operator")
_SPY = '{ user: "spy", password: "spy" }'
"""The test's own user, which may do everything."""


@dataclass
class Thief:
    """A connection with a stolen credential, by the library itself."""

    client: Client
    refused: list[str] = field(default_factory=list)

    async def ask(self, subject: str, body: Any = None) -> bytes | None:
        """The broker's answer; None where it refuses, or answers with an error."""
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        inbox = self.client.new_inbox()
        # A job that is pulled keeps its own subject, which the library's requests do not expect.
        answers = await self.overhear(inbox)
        await self.client.publish(subject, data, reply=inbox)
        await until(lambda: answers or self.may_not(subject))
        if not answers:
            return None
        failed = b'"error"' in answers[0].data or "Status" in (answers[0].headers or {})
        return None if failed else answers[0].data

    async def overhear(self, *subjects: str) -> list[Msg]:
        """The messages that come on some subjects, if anything."""
        heard: list[Msg] = []

        async def hear(message: Msg) -> None:
            heard.append(message)

        for subject in subjects:
            await self.client.subscribe(subject, cb=hear)
        await self.settled()
        return heard

    def may_not(self, subject: str) -> bool:
        """True if the broker said so."""
        return any(f'"{subject.lower()}"' in each for each in self.refused)

    async def settled(self) -> None:
        """Wait until what was sent before is done, and its refusals are here."""
        await self.client.flush()


@contextlib.asynccontextmanager
async def guarded(folder: Path) -> AsyncIterator[str]:
    """A broker as `sie up` configures it; the password of a role is its name."""
    passwords = {role: role for role in ROLES}
    plan = BrokerPlan(
        port=free_port(), monitor_port=free_port(), store=folder / "store", passwords=passwords
    )
    text = render(plan).replace("users: [", f"users: [\n    {_SPY}", 1)
    await asyncio.to_thread(folder.mkdir)
    await asyncio.to_thread((folder / "nats.conf").write_text, text)
    async with nats_server(folder, port=plan.port, config=folder / "nats.conf") as url:
        yield url


@contextlib.asynccontextmanager
async def stolen(url: str, role: str) -> AsyncIterator[Thief]:
    """The credential of a role, in other hands."""
    thief = Thief(Client())

    async def failed(error: Exception) -> None:
        thief.refused.append(str(error))

    await thief.client.connect(
        url, user=role, password=role, inbox_prefix=f"_INBOX.{role}".encode(), error_cb=failed
    )
    try:
        yield thief
    finally:
        await thief.client.close()


def user(role: str) -> dict[str, str]:
    return {"nats_user": role, "nats_password": role}


@dataclass
class Attacked:
    """A writer and a replica on a guarded broker."""

    url: str
    writer: Writer
    replica: Replica

    @property
    def log_id(self) -> str:
        return self.writer.plane.sequencer.position.log_id

    def forged(self) -> bytes:
        """The entry after the head, right in link, term and digest: made from what all may read."""
        sequencer = self.writer.plane.sequencer
        last = sequencer.last
        assert last is not None
        bundle = put("bundle", "evil", {"name": "evil", "backends": ["x"], "priority": 1})
        entry = build_entry(
            log_id=last.log_id,
            epoch=last.epoch + 1,
            term=last.term,
            writer=last.writer,
            ts="2099-01-01T00:00:00.000000Z",
            actor="admin",
            reason="",
            request_id="forged",
            changes=[bundle],
            prev_hash=last.hash,
            state_digest=preview(sequencer.registry, [bundle], last.epoch + 1).digest,
        )
        return to_envelope(entry)

    async def unharmed(self) -> None:
        """The next entry is the writer's, on the stream and in the replica, and all serve."""
        before = self.writer.plane.sequencer.position.epoch
        await self.writer.put(f"after-{before}")
        await same(self.writer, self.replica)
        await self.writer.published()
        assert self.writer.plane.sequencer.position.epoch == before + 1
        assert "evil" not in self.replica.follower.resolver.bundles
        assert isinstance(self.writer.plane.sequencer.state, Serving)


@contextlib.asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Attacked]:
    async with (
        guarded(folder / "nats") as url,
        writer(folder / "data", url, user=user("config"), publish_verify_s=0.2) as one,
        follower(url, one.url, folder / "r", user=user("gateway")) as replica,
    ):
        await one.put("a")
        await same(one, replica)
        await one.published()
        yield Attacked(url, one, replica)


async def test_a_stream_that_republishes_does_not_write_the_log(tmp_path):
    async with cluster(tmp_path) as here:
        for role in THIEVES:
            await republishes(here, role)
            await here.unharmed()


async def republishes(here: Attacked, role: str) -> None:
    async with stolen(here.url, role) as thief:
        target = f"sie.config.log.{here.log_id}.e"
        made = await thief.ask(
            "$JS.API.STREAM.CREATE.EV",
            {"name": "EV", "subjects": ["ev.x"], "republish": {"src": "ev.x", "dest": target}},
        )
        forged = here.forged()
        await thief.ask("ev.x", forged)
        await thief.settled()
        assert made is None


async def test_a_push_consumer_speaks_for_nobody_else(tmp_path):
    async with cluster(tmp_path) as here:
        for role in THIEVES:
            await pushes(here, role)
            await here.unharmed()


async def pushes(here: Attacked, role: str) -> None:
    async with stolen(here.url, role) as thief:
        log_id, stream = here.log_id, f"CFG_{here.log_id}"
        targets = [
            f"sie.config.log.{log_id}.e",
            f"sie.config.head.{log_id}",
            f"sie.config.stored.{log_id}",
            "sie.config.resync.gateway.g1",
            "sie.config.report.config.x",
            "sie.work.default.cpu.default.m",
            "sie.health.w",
        ]
        async with stolen(here.url, "spy") as spy:
            before = metric("sie_replica_snapshots_total", reason="resync")
            heard = await spy.overhear(*targets[3:6])
            for number, target in enumerate(targets):
                for verb in (f"CREATE.{stream}.c{number}", f"DURABLE.CREATE.{stream}.c{number}"):
                    config = {
                        "durable_name": f"c{number}",
                        "name": f"c{number}",
                        "deliver_subject": target,
                        "ack_policy": "none",
                        "max_deliver": 1,
                    }
                    body = {"stream_name": stream, "config": config}
                    assert await thief.ask(f"$JS.API.CONSUMER.{verb}", body) is None, target
            await spy.settled()
            assert not heard
            assert metric("sie_replica_snapshots_total", reason="resync") == before


TEXTS = {
    "sie.work.default.cpu.default.m": set(),
    "sie.work.other.cpu.default.m": set(),
    "sie.result.g1": {"gateway"},
    "sie.retried.1": {"config", "operator"},
    "_INBOX.config.x.1": {"config"},
    "_INBOX.gateway.x.1": {"gateway"},
    "_INBOX.worker.x.1": {"worker"},
    "_INBOX.operator.x.1": {"operator"},
    "sie.answer.config.config.x.1": {"config"},
    "sie.answer.worker.worker.x.1": {"worker"},
    "sie.dead.default": set(),
    "$O.sie_jobs.C.default.j.0": set(),
    "$O.sie_jobs.C.other.j.0": set(),
    "$KV.sie_leases.l": set(),
}
"""The subjects of texts and answers, and who may hear them there."""
EARS = [
    ">",
    "*.>",
    "sie.>",
    "sie.work.>",
    "sie.result.>",
    "_INBOX.>",
    "$JS.>",
    "$O.>",
    "$KV.>",
    "$SYS.>",
]


@pytest.mark.parametrize("role", ROLES)
async def test_nobody_hears_what_is_not_for_it(tmp_path, role):
    async with (
        guarded(tmp_path / "nats") as url,
        stolen(url, role) as thief,
        stolen(url, "spy") as spy,
    ):
        heard = await thief.overhear(*EARS, *TEXTS)
        meant = {subject for subject, roles in TEXTS.items() if role in roles}

        async def told() -> bool:
            # Said again: a subscription may be on its way when the first is published.
            for subject in TEXTS:
                await spy.client.publish(subject, b"a text of a tenant")
            await spy.settled()
            await thief.settled()
            return meant <= {message.subject for message in heard}

        await until_told(told)
        assert {message.subject for message in heard} == meant
        await until(lambda: all(thief.may_not(ears) for ears in EARS if ears != "sie.result.>"))


async def kept(spy: Thief) -> None:
    """Texts of two pools, where the broker keeps them."""
    for name, subjects, rest in (
        ("WORK_POOL_default", ["sie.work.default.*.*.*"], {"retention": "workqueue"}),
        ("WORK_POOL_other", ["sie.work.other.*.*.*"], {"retention": "workqueue"}),
        ("OBJ_sie_jobs", ["$O.sie_jobs.C.>"], {"allow_direct": True}),
        ("KV_sie_leases", ["$KV.sie_leases.>"], {"allow_direct": True}),
        ("DEAD_LETTERS", ["sie.dead.>"], {"allow_direct": True}),
    ):
        assert await spy.ask(
            f"$JS.API.STREAM.CREATE.{name}", {"name": name, "subjects": subjects, **rest}
        )
    for pool in ("default", "other"):
        consumer = {"durable_name": "c", "ack_policy": "explicit"}
        body = {"stream_name": f"WORK_POOL_{pool}", "config": consumer}
        assert await spy.ask(f"$JS.API.CONSUMER.DURABLE.CREATE.WORK_POOL_{pool}.c", body)
        for subject in (
            f"sie.work.{pool}.cpu.default.m",
            f"$O.sie_jobs.C.{pool}.j.0",
            f"sie.dead.{pool}",
        ):
            assert await spy.ask(subject, b"a text of " + pool.encode())
    assert await spy.ask("$KV.sie_leases.l", b"a lease")


READS: dict[tuple[str, bytes], set[str]] = {
    ("$JS.API.STREAM.MSG.GET.WORK_POOL_default", b'{"seq":1}'): {"config"},
    ("$JS.API.STREAM.MSG.GET.OBJ_sie_jobs", b'{"seq":1}'): {"config"},
    ("$JS.API.DIRECT.GET.WORK_POOL_default", b'{"seq":1}'): set(),
    ("$JS.API.DIRECT.GET.OBJ_sie_jobs", b'{"seq":2}'): set(),
    ("$JS.API.DIRECT.GET.OBJ_sie_jobs.$O.sie_jobs.C.default.j.0", b""): {"worker"},
    ("$JS.API.DIRECT.GET.OBJ_sie_jobs.$O.sie_jobs.C.other.j.0", b""): set(),
    ("$JS.API.DIRECT.GET.OBJ_sie_jobs.>", b""): set(),
    ("$JS.API.DIRECT.GET.KV_sie_leases", b'{"seq":1}'): {"gateway"},
    ("$JS.API.DIRECT.GET.DEAD_LETTERS", b'{"seq":1}'): {"operator"},
    ("$JS.API.CONSUMER.MSG.NEXT.WORK_POOL_default.c", b'{"batch":1,"no_wait":true}'): {"worker"},
    ("$JS.API.CONSUMER.MSG.NEXT.WORK_POOL_other.c", b'{"batch":1,"no_wait":true}'): set(),
}


@pytest.mark.parametrize("role", ROLES)
async def test_nobody_reads_what_the_broker_keeps_for_another(tmp_path, role):
    async with (
        guarded(tmp_path / "nats") as url,
        stolen(url, "spy") as spy,
        stolen(url, role) as thief,
    ):
        await kept(spy)
        given = {what for what in READS if await thief.ask(*what) is not None}
        assert given == {what for what, roles in READS.items() if role in roles}


async def test_one_word_of_a_gateways_user_empties_no_bucket(tmp_path):
    async with (
        guarded(tmp_path / "nats") as url,
        stolen(url, "gateway") as thief,
        stolen(url, "spy") as spy,
        connected_bus(
            BusSettings(nats_url=url, nats_user="config", nats_password="config"),
            role="config",
            process_id="c",
        ) as bus,
    ):
        # As an earlier release made them; they are mended where they lie.
        for name, subjects in (
            ("OBJ_sie_jobs", ["$O.sie_jobs.C.>"]),
            ("KV_sie_leases", ["$KV.sie_leases.>"]),
        ):
            made = {"name": name, "subjects": subjects, "allow_rollup_hdrs": True}
            rest = {"discard": "new", "allow_direct": True, "allow_msg_ttl": True}
            assert await spy.ask(f"$JS.API.STREAM.CREATE.{name}", made | rest)
        await Provisions(bus, ProvisionSettings()).ensure_shared()
        for bucket in ("$KV.sie_leases", "$O.sie_jobs.C"):
            for key in ("one", "two"):
                assert await spy.ask(f"{bucket}.{key}", b"of somebody")
            for rollup in ("all", "sub"):
                await thief.client.publish(f"{bucket}.two", b"", headers={"Nats-Rollup": rollup})
        await thief.client.publish("$KV.sie_leases.large", bytes(2**20))
        await thief.settled()
        for name in ("KV_sie_leases", "OBJ_sie_jobs"):
            told = await spy.ask(f"$JS.API.STREAM.INFO.{name}")
            assert told is not None
            assert json.loads(told)["state"]["messages"] == 2, name


OTHERS = {
    "gateway": ["sie.health.w", "sie.dead.default", "sie.demand.ask"],
    "worker": ["$KV.sie_leases.l", "sie.cancel.r", "sie.work.default.cpu.default.m"],
    "operator": ["sie.health.w", "$KV.sie_leases.l", "sie.cancel.r", "$O.sie_jobs.C.default.j.0"],
}
"""The subjects that only other roles publish to."""


async def test_nobody_makes_changes_or_copies_a_stream_or_speaks_for_another(tmp_path):
    async with cluster(tmp_path) as here:
        for role in THIEVES:
            await meddles(here, role)
            await here.unharmed()


async def meddles(here: Attacked, role: str) -> None:
    async with stolen(here.url, role) as thief:
        log_id, stream = here.log_id, f"CFG_{here.log_id}"
        copy = {"name": "COPY"}
        for subject, body in (
            ("$JS.API.STREAM.CREATE.COPY", copy | {"mirror": {"name": stream}}),
            ("$JS.API.STREAM.CREATE.COPY", copy | {"sources": [{"name": "OBJ_sie_jobs"}]}),
            (f"$JS.API.STREAM.UPDATE.{stream}", {"name": stream, "subjects": ["ev.x"]}),
            (f"$JS.API.STREAM.DELETE.{stream}", {}),
            (f"$JS.API.STREAM.SNAPSHOT.{stream}", {"deliver_subject": f"_INBOX.{role}.s"}),
            (f"$JS.API.STREAM.RESTORE.{stream}", {"config": copy}),
            (f"$JS.API.STREAM.MSG.DELETE.{stream}", {"seq": 1}),
            (f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", {}),
            (f"$JS.API.CONSUMER.DELETE.{stream}.x", {}),
            ("$JS.API.ACCOUNT.PURGE.x", {}),
            ("$SYS.REQ.SERVER.PING", {}),
            ("$SYS.REQ.ACCOUNT.PING.CONNZ", {}),
        ):
            assert await thief.ask(subject, body) is None, subject
        silent = [
            f"sie.config.log.{log_id}.e",
            f"sie.config.head.{log_id}",
            f"sie.config.stored.{log_id}",
            "sie.config.rollcall",
            "sie.config.resync.gateway.g1",
            "_INBOX.config.x.1",
            "_INBOX.gateway.x.1",
            "_INBOX.worker.x.1",
            f"sie.answer.{role}.{role}.x",
            "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.WORK_POOL_default.c",
            "$JS.ACK.WORK_POOL_other.c.1.1.1.0.0",
            "$JS.ACK.SWEEP_ADVISORIES.sweeper.1.1.1.0.0",
            *OTHERS[role],
        ]
        for subject in silent:
            await thief.client.publish(subject, here.forged())
        await thief.settled()
        await until(lambda: all(map(thief.may_not, silent)))


async def test_a_reply_that_names_anothers_subject_does_no_harm(tmp_path):
    """The broker does not check where an answer goes: what comes that way is dropped or mended."""
    async with (
        cluster(tmp_path) as here,
        stolen(here.url, "worker") as thief,
        stolen(here.url, "spy") as spy,
    ):
        queue = "$JS.API.CONSUMER.MSG.NEXT.WORK_POOL_default.c"
        consumer = {"durable_name": "c", "ack_policy": "explicit"}
        body = {"stream_name": "WORK_POOL_default", "config": consumer}

        async def has_a_consumer() -> bool:
            made = f"$JS.API.CONSUMER.DURABLE.CREATE.{body['stream_name']}.c"
            return await spy.ask(made, body) is not None

        await until_told(has_a_consumer)
        snapshots = metric("sie_replica_snapshots_total", reason="resync")
        dropped = metric("sie_bus_errors_total", kind="broker_speaks_for_another")
        targets = [
            f"sie.config.log.{here.log_id}.e",
            f"sie.config.head.{here.log_id}",
            f"sie.config.stored.{here.log_id}",
            "sie.config.resync.gateway.g1",
            "sie.config.tail.gateway.g1",
            "sie.config.rollcall",
        ]
        for target in targets:
            assert await spy.ask("sie.work.default.cpu.default.m", here.forged())
            await thief.client.publish(queue, b'{"batch":1,"no_wait":true}', reply=target)
            read = f"$JS.API.DIRECT.GET.CFG_{here.log_id}"
            await thief.client.publish(read, b'{"seq":1}', reply=target)
        await thief.settled()
        await until(
            lambda: metric("sie_bus_errors_total", kind="broker_speaks_for_another") > dropped
        )
        assert metric("sie_replica_snapshots_total", reason="resync") == snapshots
