"""A simulated world: hosts, network, broker and disks of one cluster, and the truth about them.

*shell.* Owns everything that exists in one run. What happens to the world is decided in
`sie_testing.simulation.faults`, and judged in `sie_testing.simulation.run`.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from sie_config.writer.draft import Write
from sie_config.writer.rules import Command
from sie_config.writer.writer_state import Recovery, Serving
from sie_config.writer_process import ControlPlane
from sie_core.chain import position_of
from sie_runtime.signing import SigningKey
from sie_schemas.entry import Entry
from sie_schemas.errors import FixRequest, SIEError
from sie_testing.simulation.evidence import ROLL_CALL, Evidence
from sie_testing.simulation.ground import Asked, Ground
from sie_testing.simulation.http import Lost
from sie_testing.simulation.load import commands_of, drawn_commands, keyed, told
from sie_testing.simulation.processes import ReplicaProcess, WriterProcess
from sie_testing.simulation.truth import Acknowledged
from sie_testing.simulation.volume import Volume
from sie_testing.stage.broken import Broken
from sie_testing.stage.broker import Connection
from sie_testing.stage.process import Process
from sie_testing.stage.surroundings import chance_of

__all__ = ["FORKING", "World"]

FORKING: Final = frozenset({"failover", "backup-restored", "tail-lost", "file-damaged"})
"""Faults after which a writer that nobody could warn may write what another one wrote."""

_FAULT_S: Final = 6.0
"""The longest fault: thrice the longest back-off of a follower, and several fit into a run."""
_CALL_S: Final = 3.0
"""Longer than the slowest sound call, whose messages take 0.15 s each way. Most faults are longer:
clients do give up on a write that is stored."""
_AGAIN_SHARE: Final = 0.1
"""Now and then a client whose write is stored sends it again: its key has to answer the same."""


class World(Ground):
    """See the module. One per seed."""

    def __init__(self, seed: int, *, replicas: int, history: Sequence[Entry] = ()) -> None:
        super().__init__(chance_of(str(seed)), history=history)
        self.broker.on_delete = self._note_deleted
        self.broker.on_message = self._note_message
        self.broker.on_effect = self.took_effect
        self.bookmarks: list[tuple[str, bytes]] = []
        """Heads that were announced on the bus: subject and message."""
        self.backups: list[Volume] = []
        self.wrong_keys: dict[int, tuple[Volume, SigningKey]] = {}
        """Disks whose key file is an older one, and the key that belongs there."""
        volume = Volume(list(history), on_fault=self.took_effect)
        self.writer = WriterProcess(self, "config", volume)
        self.zombies: list[WriterProcess] = []
        """Writers that hung, and whose place another one took on a clone of their file."""
        self.early: list[WriterProcess] = []
        """Writers that somebody started on the file of one that lives."""
        self.replicas: Final = [
            ReplicaProcess(self, f"gateway-{n}", "gateway")
            if n % 2 == 0
            else ReplicaProcess(self, f"worker-{n}", "worker")
            for n in range(replicas)
        ]
        self.twins: list[ReplicaProcess] = []
        """Replicas that somebody started under the name of one that lives."""
        self.evidence: Final = Evidence(self, self.replicas, self.twins)
        self._keys = 0
        self._asked: list[asyncio.Task[None]] = []

    @property
    def processes(self) -> list[Process[Ground]]:
        """Every process that there is."""
        return [self.writer, *self.zombies, *self.early, *self.replicas, *self.twins]

    @property
    def checks(self) -> Mapping[str, int]:
        """The times that the oracle put each of its properties to the test."""
        return self.truth.checks

    def in_a_while(
        self, rng: random.Random, callback: Callable[[], object], *, at_least_s: float = 0.0
    ) -> None:
        """End a fault: at a moment that its own chance draws."""
        self.later(at_least_s + rng.random() * _FAULT_S, callback)

    def opened(self, volume: Volume) -> None:
        """A writer has opened the file of a volume: what nobody could give back is lost."""
        self.evidence.note_vanished(volume)

    def begins(self, writer: str, volume: Volume, asked: Asked, entry: Entry) -> None:
        """A writer begins a term, after it has asked. Breaks the run if it was warned."""
        # Whoever had more when the file was opened may be gone, files and all, unasked.
        self.evidence.note_vanished(volume, but=asked.warned_of)
        try:
            self.evidence.check_warned(
                writer, asked.reach, self.evidence.reach_of(self.writer), entry
            )
        except Broken as error:
            self.breaks(error)

    def _note_deleted(self, messages: list[bytes]) -> None:
        writers = (self.writer, *self.zombies)
        entries = [entry for writer in writers for entry in writer.volume.entries]
        self.truth.dropped(messages, entries)

    def _note_message(self, sender: Connection, subject: str, data: bytes) -> None:
        if subject.startswith("sie.config.head."):
            self.bookmarks.append((subject, data))
        for writer in (self.writer, *self.zombies) if subject == ROLL_CALL else ():
            if writer.host is sender.host:
                reach = self.evidence.reach_of(self.writer)
                writer.asked.reach = reach
                writer.asked.warned_of |= self.evidence.known_to(reach)

    # -- clients --

    async def write_some(self, count: int, history: Sequence[Entry] = ()) -> None:
        """A client: `count` writes, each sent until it is decided; or a recorded history's."""
        rng = self.load_rng
        for number in range(count):
            await asyncio.sleep(rng.expovariate(2.0))
            recorded = commands_of(history[number]) if number < len(history) else ()
            await self.write_once(recorded or drawn_commands(rng), attempts=6)

    async def write_once(self, commands: tuple[Command, ...], *, attempts: int) -> bool:
        """Send one write until it is decided; whether a client was told that it is stored."""
        self._keys += 1
        write = keyed(commands, f"k{self._keys}")
        self.trace.say("client", f"k{self._keys} is to {'; '.join(map(told, commands))}")
        stored = False
        for _ in range(attempts):
            answer = await self._sent(write)
            self.count(f"answer: {answer}")
            if answer == "refused":
                return stored
            stored = stored or answer == "stored"
            if answer == "stored" and self.load_rng.random() > _AGAIN_SHARE:
                return True
            await asyncio.sleep(0.3 + self.load_rng.random())
        return stored

    async def _sent(self, write: Write) -> str:
        try:
            outcome, _ = await self.calls.call(
                "client", lambda plane: plane.write(write), timeout_s=_CALL_S
            )
        except FixRequest as error:
            self.trace.say("client", f"a write is refused: {error.message}")
            return "refused"
        except Lost:
            return "lost"
        except SIEError as error:
            return error.code
        entry = outcome.entry
        assert write.idempotency is not None
        acknowledged = Acknowledged(entry.log_id, entry.epoch, entry.hash, write.idempotency.key)
        self.trace.say("client", f"{write.idempotency.key} is stored at {position_of(entry)}")
        try:
            self.truth.answered(acknowledged, write.commands)
        except Broken as error:
            self.breaks(error)
        return "stored"

    # -- the operator --

    def ask(self, sender: str, work: Callable[[ControlPlane], Awaitable[object]]) -> None:
        """Have the writer do something; whether it does is nobody's concern."""

        async def asked() -> None:
            with contextlib.suppress(Lost, SIEError):
                await self.calls.call(sender, work, timeout_s=_CALL_S)

        self._asked.append(self.loop.create_task(asked(), name=sender, context=self.context))

    def discard_after(self, volume: Volume) -> None:
        """`restore --discard-after`: a new log on what this volume holds, superseding the old."""
        last = volume.entries[-1]
        self.evidence.check_given_up(position_of(last))
        if volume.has_retired_key:
            self.trace.say("operator", "moves the old key away, and a new one is made")
            volume.key = SigningKey.of_seed(bytes.fromhex(self.new_id(32)))
            self.wrong_keys.pop(id(volume), None)
        entry = volume.begin_heir(self.new_id(16), self.new_id(8), self.now_us())
        self.truth.committed([entry])
        self.truth.given_up.append(position_of(last))
        self.trace.say("operator", f"begins log {entry.log_id[:8]} after {position_of(last)}")
        self.backups.append(volume.copy())
        self.count("operator: discards")

    def has_one_writer(self) -> bool:
        """True if nothing has happened that lets two histories of one log come about."""
        return not any(self.counts.get(f"fault: {kind}", 0) for kind in FORKING)

    def serves_all_of(self, writer: WriterProcess) -> bool:
        """True if a writer takes writes, and its file ends where it stands."""
        plane, entries = writer.plane, writer.volume.entries
        if plane is None or not isinstance(plane.sequencer.state, Serving):
            return False
        return bool(entries) and plane.sequencer.position == position_of(entries[-1])

    def in_recovery(self) -> bool:
        """True if the writer says that its log is not to be trusted."""
        plane = self.writer.plane
        return plane is not None and isinstance(plane.sequencer.state, Recovery)
