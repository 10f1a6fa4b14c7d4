"""The judgement of a healed cluster: where everybody stands, and what became of each promise.

*shell.* Asks sie-config, the gateways, the stream and the tails of the replicas. `Broken` names the
property that a run has violated.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from sie_config.log.replay import step
from sie_config.offline.log_reader import LogReader
from sie_core.registry import Registry
from sie_core.resolver import Resolver
from sie_runtime.streams.log_stream import LogStream
from sie_schemas.entry import Entry, EntryCorrupt, log_id8, parse_envelope
from sie_schemas.errors import SIEError
from sie_testing.processes.cluster import Cluster
from sie_testing.processes.load import Acknowledged, Answered, Load
from sie_testing.stage.broken import Broken

__all__ = ["Judge"]

_ASK_S: Final = 2.0
"""A process that is stopped never answers: the next look is worth more than a longer wait."""


class Judge:
    """Looks, and says what it saw. `counts` is what was put to the test."""

    def __init__(self, cluster: Cluster, load: Load, counts: dict[str, int]) -> None:
        self._cluster = cluster
        self._load = load
        self._counts = counts

    def count(self, check: str) -> None:
        """A property was put to the test."""
        self._counts[f"check: {check}"] = self._counts.get(f"check: {check}", 0) + 1

    # -- where everybody stands --

    async def writer(self) -> dict[str, Any]:
        """The words of sie-config on itself; empty while it says nothing."""
        return await self._asked("config", "/readyz")

    async def standing(self) -> str:
        """The reason why the cluster has not converged; empty when it has."""
        writer = await self.writer()
        if writer.get("status") != "ready":
            return f"the writer says {json.dumps(writer.get('writer', 'nothing'))}"
        head = await self._asked("config", "/v1/configs/epoch")
        if not head or writer["published_epoch"] != head["epoch"]:
            return f"published {writer['published_epoch']} of {head.get('epoch')}"
        wanted = (head["log_id"], head["epoch"], head["digest"])
        rows = await self.replicas()
        for name in self._cluster.replicas:
            row = rows.get(name, {})
            if _triple(row) != wanted or row.get("state") != "fresh":
                told = {key: row.get(key) for key in ("log_id", "epoch", "state", "reason")}
                return f"{name} reports {told}, the head is {wanted[0][:8]}.{wanted[1]}"
        for gateway in self._cluster.gateways:
            if _triple(await self._asked(gateway.name, "/v1/configs/epoch")) != wanted:
                return f"{gateway.name} serves another position than it reports"
        return ""

    async def following(self, at_least: tuple[str, int]) -> str:
        """The process that is not yet at a position, or past it, as the log goes on; else empty."""
        log_id, epoch = at_least
        writer = await self.writer()
        if writer.get("status") != "ready":
            return f"the writer says {json.dumps(writer.get('writer', 'nothing'))}"
        if writer["published_epoch"] < epoch:
            return f"published {writer['published_epoch']} of {epoch}"
        rows = await self.replicas()
        for name in self._cluster.replicas:
            row = rows.get(name, {})
            there = row.get("log_id") == log_id and row.get("epoch", 0) >= epoch
            if not there or row.get("state") != "fresh":
                told = {key: row.get(key) for key in ("log_id", "epoch", "state", "reason")}
                return f"{name} reports {told}, wanted is {log_id[:8]}.{epoch}"
        return ""

    async def head(self) -> tuple[str, int] | None:
        """The writer's position; absent while it does not say."""
        told = await self._asked("config", "/v1/configs/epoch")
        return (told["log_id"], told["epoch"]) if "log_id" in told else None

    async def replicas(self) -> dict[str, dict[str, Any]]:
        """By id, what each replica has reported."""
        told = await self._asked("config", "/v1/configs/replicas")
        return {row["id"]: row for row in told.get("replicas", ())}

    async def _asked(self, name: str, path: str) -> dict[str, Any]:
        try:
            async with httpx.AsyncClient(timeout=_ASK_S, headers=self._cluster.headers) as http:
                response = await http.get(self._cluster.url(name) + path)
            found: dict[str, Any] = response.json()
        except (httpx.TransportError, ValueError):
            return {}
        return found

    # -- what was promised --

    async def promises(self) -> None:
        """Judge acknowledgements and answers against the log. Raises `Broken`."""
        log = await asyncio.to_thread(_entries_of, self._cluster.log_file)
        self._check_keys(log)
        lost = _lost(log, self._load.acknowledged)
        if lost:
            self._check_lost(lost)
        else:
            self.count("every acknowledged write is there")
            for misled in _wrong_answers(log, self._load.answered):
                raise Broken(misled)
            self.count("every answer is of the revision that its position has")
        wrong = await self._cluster.verify()
        if wrong:
            raise Broken(f"the log does not verify: {wrong[0]}")
        self.count("the stream holds the log")

    async def lost_and_wrong(self) -> tuple[list[Acknowledged], list[str]]:
        """Acknowledged writes that the log does not have; answers that it does not bear out."""
        # What is told while the log is read may be newer than what is read.
        told, answered = list(self._load.acknowledged), list(self._load.answered)
        log = await asyncio.to_thread(_entries_of, self._cluster.log_file)
        return _lost(log, told), [*_wrong_answers(log, answered)]

    async def survivors(self) -> list[str]:
        """The holders that could give the entry after the head back, while the writer lacks it."""
        head = await self._asked("config", "/v1/configs/epoch")
        if not head:
            return []
        async with self._cluster.connected_bus() as bus:
            try:
                wanted = msgspec.json.encode({"after": head["epoch"], "until": head["epoch"] + 1})
                stream = await LogStream(bus, head["log_id"]).read(head["epoch"] + 1)
                offers = {"the stream": stream}
                for name in self._cluster.replicas:
                    subject = f"sie.config.tail.{name.partition('-')[0]}.{name}"
                    offers[name] = await bus.request(subject, wanted, timeout_s=_ASK_S)
            except SIEError:
                # Somebody is on his way up: he is asked again.
                return []
        return [who for who, data in offers.items() if _follows(data, head["hash"])]

    def _check_keys(self, log: Sequence[Entry]) -> None:
        held = {entry.hash for entry in log}
        answers: dict[str, Acknowledged] = {}
        for one in self._load.acknowledged:
            if one.hash in held and answers.setdefault(one.key, one) != one:
                first = answers[one.key]
                raise Broken(f"key {one.key} was answered with {first.epoch} and {one.epoch}")
        keys = [entry.idempotency.key for entry in log if entry.idempotency is not None]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise Broken(f"{min(twice)} stands for two entries")
        self.count("one entry and one answer for one key")

    def _check_lost(self, lost: Sequence[Acknowledged]) -> None:
        """Each lost write was announced, unless nobody had seen it when its disk was lost."""
        missed = [one for one in lost if not self._vanished(one)]
        if len(missed) < len(lost):
            self.count("a write that nobody had seen went with its disk")
        if not missed:
            return
        one = missed[0]
        what = f"{one.key}, acknowledged as {log_id8(one.log_id)}.{one.epoch}, is lost"
        if not self._cluster.losses:
            raise Broken(f"{what}, and no disk was")
        if not (self._cluster.said_lost or self._load.recoveries or self._alarms()):
            raise Broken(f"{what}, and nobody said so")
        self.count("a lost write was announced")

    def _vanished(self, one: Acknowledged) -> bool:
        return any(
            loss.log_id == one.log_id and loss.epoch < one.epoch and one.at < loss.at
            for loss in self._cluster.losses
        )

    def _alarms(self) -> list[str]:
        """The lines that sie-config has logged as an error."""
        lines = self._cluster.programs["config"].log.read_text(errors="replace").splitlines()
        return [line for line in lines if '"level": "error"' in line]

    # -- what has to work again --

    async def serves(self) -> None:
        """Wait until every gateway answers every model. Raises `Broken` by its caller's timeout."""
        names = [row["model_id"] for row in await self._models()]
        for gateway in self._cluster.gateways:
            for model in names:
                while not await self._load.ask(gateway, model, ["after healing"]):
                    if self._load.wrong:
                        return
                    await asyncio.sleep(_ASK_S / 10)
        self.count("every model is served after healing")

    async def _models(self) -> list[dict[str, Any]]:
        told = await self._asked("config", "/v1/configs/models")
        rows: list[dict[str, Any]] = told["models"]
        return rows


def _entries_of(path: Path) -> list[Entry]:
    """The whole log: sie-config itself gives no delta from below its low water."""
    with LogReader.open(path) as reader:
        return list(reader.entries())


def _lost(log: Sequence[Entry], acknowledged: Sequence[Acknowledged]) -> list[Acknowledged]:
    held = {entry.hash for entry in log}
    return [one for one in acknowledged if one.hash not in held]


def _wrong_answers(log: Sequence[Entry], answers: Sequence[Answered]) -> Iterator[str]:
    """Answers of another revision than the log has at the position that they name."""
    answered: dict[str, list[Answered]] = {}
    for one in answers:
        answered.setdefault(one.position, []).append(one)
    registry, resolver = Registry.EMPTY, None
    for entry in log:
        registry = step(registry, entry)
        here = answered.pop(f"{log_id8(entry.log_id)}.{entry.epoch}", ())
        if not here:
            continue
        resolver = Resolver.of(registry, None, resolver)
        for one in here:
            if resolver.resolve(one.model).revision != one.revision:
                yield f"{_told(one)}, which the log does not have there"
    for others in answered.values():
        yield f"{_told(others[0])}, and the log has no such position"


def _told(one: Answered) -> str:
    return f"{one.gateway} answered {one.model} at {one.position} with revision {one.revision[:8]}"


def _triple(row: dict[str, Any]) -> tuple[Any, Any, Any]:
    return row.get("log_id"), row.get("epoch"), row.get("digest")


def _follows(data: bytes | None, head_hash: str) -> bool:
    line = (data or b"").partition(b"\n")[0]
    if not line:
        return False
    try:
        entry = parse_envelope(line)
    except EntryCorrupt:
        return False
    return entry.prev_hash == head_hash
