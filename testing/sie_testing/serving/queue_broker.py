"""The broker with work queues: jobs, the consumers that hand them out, and objects beside them.

*shell.* Keeps what JetStream keeps of a work queue as far as the data plane relies on it. A job
that was stored under an id is stored once. It is handed out until somebody acknowledges or
terminates it, at most so many times. After the wait for an acknowledgement, or a word against it,
it is handed out again, the older ones first. Its store is written without waiting for the disk: a
crash may forget the newest jobs, and acknowledgements.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from sie_runtime.streams.dead_letters import SUBJECTS as LETTERS
from sie_runtime.streams.payload_store import STREAM as OBJECTS_STREAM
from sie_runtime.streams.payload_store import SUBJECTS as OBJECTS
from sie_testing.stage.broker import Arrival, Broker, Connection
from sie_testing.stage.network import Network

__all__ = ["Consumer", "QueueBroker", "StoredJob"]

_NEXT: Final = "$JS.API.CONSUMER.MSG.NEXT."
_INFO: Final = "$JS.API.CONSUMER.INFO."
_GET: Final = f"$JS.API.DIRECT.GET.{OBJECTS_STREAM}."
_ACK: Final = "$JS.ACK."
_NOBODY: Final = {"Status": "503"}


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job in the stream."""

    sequence: int
    subject: str
    data: bytes
    job_id: str
    at: float


@dataclass(slots=True)
class _Pull:
    client: Connection
    session: int
    reply: str
    left: int
    until: float


@dataclass(slots=True)
class Consumer:
    """One durable consumer. `out` are the sequences that somebody has, and until when."""

    name: str
    """`<stream>.<consumer>`: two pools have consumers of one name."""
    subject: str
    last: int = 0
    deliveries: int = 0
    out: dict[int, float] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    again: list[int] = field(default_factory=list)
    pulls: list[_Pull] = field(default_factory=list)


class QueueBroker(Broker):
    """See the module. A sequence is given once, whichever pool's stream it is of."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        network: Network,
        *,
        ack_wait_s: float,
        deliveries_max: int,
    ) -> None:
        super().__init__(loop, network)
        self._ack_wait_s = ack_wait_s
        self._deliveries_max = deliveries_max
        self.jobs: dict[int, StoredJob] = {}
        """The work queues, by sequence."""
        self.objects: dict[str, tuple[bytes, float, float]] = {}
        """By subject: the chunk, when its time is over, and when it came."""
        self.letters: list[str] = []
        """Job ids of the dead letters."""
        self.consumers: dict[str, Consumer] = {}
        self._last = 0
        self._ids: dict[str, int] = {}
        self._done: list[tuple[float, StoredJob]] = []
        """The jobs that were acknowledged, and when: a crash may forget it."""
        self.words_to_lose = 0
        """Words of workers on their jobs that never arrive."""
        self.on_job: Callable[[StoredJob], None] = lambda job: None
        self.on_object: Callable[[bytes], None] = lambda data: None
        self.on_delivery: Callable[[Connection, StoredJob, int], None] = lambda to, job, count: None
        self.on_again: Callable[[Connection, StoredJob, int], None] = lambda to, job, count: None
        """Called with each delivery that is not the first."""
        self.on_end: Callable[[StoredJob, str], None] = lambda job, word: None
        self.on_exceeded: Callable[[StoredJob], None] = lambda job: None
        self.wall: Callable[[float], float] = lambda at: at
        """Its Unix time at a moment of the loop: no host has the same."""
        self.carries: Callable[[Connection, str, bytes], bool] = lambda sender, subject, data: True
        """True if a message that came in goes on: asked of each."""

    # -- the world's hand --

    def add_consumer(self, stream: str, consumer: str, subject: str) -> None:
        """As sie-config makes it."""
        name = f"{stream}.{consumer}"
        self.consumers[name] = Consumer(name, subject)

    def stop(self) -> None:
        """The broker goes away: nobody's pull is open any more."""
        super().stop()
        for consumer in self.consumers.values():
            consumer.pulls.clear()

    def forget(self, rng: random.Random, within_s: float, *, jobs: bool) -> int:
        """A crash: of what was done within so long before, some jobs are gone, or some that were
        acknowledged are there again. How many. The sequences of lost jobs are given again.
        """
        since = self.loop.time() - within_s
        if jobs:
            lost = [each for each in self.jobs.values() if each.at >= since]
            lost = lost[int(rng.random() * len(lost)) :]
            for each in lost:
                del self.jobs[each.sequence]
            if lost:
                self._last = lost[0].sequence - 1
            young = [name for name, each in self.objects.items() if each[2] >= since]
            for name in young[int(rng.random() * len(young)) :]:
                del self.objects[name]
        else:
            lost = [job for at, job in self._done if at >= since and job.sequence <= self._last]
            lost = [job for job in lost if rng.random() < 0.5 and job.sequence not in self.jobs]
            self.jobs.update({job.sequence: job for job in lost})
            self.jobs = dict(sorted(self.jobs.items()))
        self._ids = {job.job_id: job.sequence for job in self.jobs.values()}
        for consumer in self.consumers.values():
            self._found_again(consumer, [] if jobs else lost)
        return len(lost)

    def _found_again(self, consumer: Consumer, back: list[StoredJob]) -> None:
        """A consumer reads its own file, and what the stream holds now."""
        consumer.last = min(consumer.last, self._last)
        consumer.out = {seq: at for seq, at in consumer.out.items() if seq in self.jobs}
        for job in back:
            if job.subject == consumer.subject and job.sequence <= consumer.last:
                consumer.out[job.sequence] = self.loop.time()
                consumer.counts.setdefault(job.sequence, 1)
        consumer.again = []
        for sequence in consumer.out:
            self._watch(consumer, sequence)

    def hand_out_early(self, rng: random.Random) -> StoredJob | None:
        """Hand a job out again that somebody has in hand: at least once is what was promised."""
        out = [(each, seq) for each in self.consumers.values() for seq in each.out]
        if not out:
            return None
        consumer, sequence = rng.choice(out)
        self._again(consumer, sequence)
        return self.jobs.get(sequence)

    def drop_job(self, sequence: int) -> None:
        """As the sweeper ends a job that nobody gets any more."""
        job = self.jobs.pop(sequence, None)
        for consumer in self.consumers.values():
            consumer.out.pop(sequence, None)
            if sequence in consumer.again:
                consumer.again.remove(sequence)
        if job is not None:
            self.on_end(job, "swept")

    # -- messages --

    def take(
        self, sender: Connection, subject: str, data: bytes, reply: str, headers: dict[str, str]
    ) -> None:
        """A message came in over a connection."""
        if not self.carries(sender, subject, data):
            return
        if subject.startswith("$JS."):
            self._asked(sender, subject, data, reply)
        elif subject.startswith(("sie.work.", f"{OBJECTS}.", f"{LETTERS}.")):
            self._stored(subject, data, reply, headers)
        else:
            super().take(sender, subject, data, reply, headers)

    def _asked(self, sender: Connection, subject: str, data: bytes, reply: str) -> None:
        name = ".".join(subject.split(".")[-2:])
        if subject.startswith(_ACK):
            self._word(subject.split("."), data)
        elif subject.startswith(_NEXT):
            self._pulled(sender, name, msgspec.json.decode(data), reply)
        elif subject.startswith(_INFO):
            self._tell(sender, name, reply)
        elif subject.startswith(_GET):
            self._get_object(sender, subject.removeprefix(_GET), reply)
        else:
            raise AssertionError(f"the broker in memory does not know {subject}")

    def _stored(self, subject: str, data: bytes, reply: str, headers: dict[str, str]) -> None:
        if subject.startswith("sie.work."):
            self._keep(subject, data, reply, headers["Nats-Msg-Id"])
        elif subject.startswith(f"{OBJECTS}."):
            self._put_object(subject, data, headers)
            self._answer(reply, {"stream": OBJECTS_STREAM, "seq": 1})
        else:
            self.letters.append(headers["Nats-Msg-Id"])
            self._answer(reply, {"stream": "DEAD_LETTERS", "seq": len(self.letters)})

    def _keep(self, subject: str, data: bytes, reply: str, job_id: str) -> None:
        known = self._ids.get(job_id)
        stream = f"WORK_POOL_{subject.split('.')[2]}"
        answer = {"stream": stream, "seq": known, "duplicate": True}
        if known is None:
            self._last += 1
            job = StoredJob(self._last, subject, data, job_id, self.loop.time())
            self.jobs[self._last] = job
            self._ids[job_id] = self._last
            self.on_job(job)
            answer = {"stream": stream, "seq": self._last}
        self._answer(reply, answer)
        for consumer in self.consumers.values():
            if consumer.subject == subject:
                self._hand_out(consumer)

    def _word(self, tokens: list[str], data: bytes) -> None:
        """A worker's word on a delivery: `$JS.ACK.<stream>.<consumer>.<count>.<seq>.<dseq>.…`"""
        if self.words_to_lose:
            self.words_to_lose -= 1
            self.on_effect("words-lost")
            return
        consumer = self.consumers[f"{tokens[2]}.{tokens[3]}"]
        sequence, number = int(tokens[5]), int(tokens[6])
        job = self.jobs.get(sequence)
        if job is None or sequence not in consumer.out or not 0 < number <= consumer.deliveries:
            return
        if data in (b"+ACK", b"+TERM"):
            self._done.append((self.loop.time(), job))
            del self.jobs[sequence], consumer.out[sequence]
            consumer.counts.pop(sequence, None)
            if sequence in consumer.again:
                consumer.again.remove(sequence)
            self.on_end(job, data.decode())
        elif data == b"+WPI":
            consumer.out[sequence] = self.loop.time() + self._ack_wait_s
        elif data == b"-NAK":
            self._again(consumer, sequence)
        elif data.startswith(b"-NAK "):
            delay_s = msgspec.json.decode(data[5:])["delay"] / 1e9
            consumer.out[sequence] = self.loop.time() + delay_s
            self._watch(consumer, sequence)

    # -- handing out --

    def _again(self, consumer: Consumer, sequence: int) -> None:
        if sequence not in consumer.again:
            consumer.again.append(sequence)
            consumer.again.sort()
        self._hand_out(consumer)

    def _watch(self, consumer: Consumer, sequence: int) -> None:
        """Look when the time of a delivery is over."""

        def look() -> None:
            due = consumer.out.get(sequence)
            if due is None or sequence in consumer.again:
                return
            if due > self.loop.time():
                self._watch(consumer, sequence)
            elif self.up:
                self._again(consumer, sequence)
            else:
                self.loop.call_later(0.5, look, context=self.context)

        at = max(consumer.out[sequence], self.loop.time())
        self.loop.call_at(at + 1e-6, look, context=self.context)

    def _pulled(self, sender: Connection, name: str, wanted: dict[str, Any], reply: str) -> None:
        consumer = self.consumers.get(name)
        if consumer is None:
            sender.offer(Arrival(reply, b"", "", dict(_NOBODY)))
            return
        lasts_s = wanted["expires"] / 1e9
        pull = _Pull(sender, sender.session, reply, wanted["batch"], self.loop.time() + lasts_s)
        consumer.pulls.append(pull)
        self._hand_out(consumer)

        def expire() -> None:
            if pull in consumer.pulls:
                consumer.pulls.remove(pull)
                told = {"Status": "408", "Nats-Pending-Messages": str(pull.left)}
                if sender.linked and sender.session == pull.session:
                    sender.offer(Arrival(reply, b"", "", told))

        self.loop.call_later(lasts_s, expire, context=self.context)

    def _hand_out(self, consumer: Consumer) -> None:
        while self.up:
            consumer.pulls = [pull for pull in consumer.pulls if _is_open(pull)]
            if not consumer.pulls:
                return
            job = self._next(consumer)
            if job is None:
                return
            pull = consumer.pulls.pop(0)
            pull.left -= 1
            if pull.left:
                consumer.pulls.append(pull)
            self._give_job(consumer, job, pull)

    def _next(self, consumer: Consumer) -> StoredJob | None:
        while consumer.again:
            sequence = consumer.again.pop(0)
            job = self.jobs.get(sequence)
            if job is None:
                consumer.out.pop(sequence, None)
            elif consumer.counts.get(sequence, 0) >= self._deliveries_max:
                consumer.out.pop(sequence, None)
                self.on_exceeded(job)
            else:
                return job
        for sequence in range(consumer.last + 1, self._last + 1):
            consumer.last = sequence
            job = self.jobs.get(sequence)
            if job is not None and job.subject == consumer.subject:
                return job
        return None

    def _give_job(self, consumer: Consumer, job: StoredJob, pull: _Pull) -> None:
        count = consumer.counts[job.sequence] = consumer.counts.get(job.sequence, 0) + 1
        consumer.deliveries += 1
        consumer.out[job.sequence] = self.loop.time() + self._ack_wait_s
        stored_ns = int(self.wall(job.at) * 1e9)
        told = f"{count}.{job.sequence}.{consumer.deliveries}.{stored_ns}.0"
        reply = f"{_ACK}{consumer.name}.{told}"
        self._watch(consumer, job.sequence)
        pull.client.offer(Arrival(pull.reply, job.data, reply, {"Nats-Msg-Id": job.job_id}))
        self.on_delivery(pull.client, job, count)
        if count > 1:
            self.on_again(pull.client, job, count)

    def _tell(self, sender: Connection, name: str, reply: str) -> None:
        consumer = self.consumers.get(name)
        if consumer is None:
            self._answer(reply, {"error": {"code": 404, "description": "consumer not found"}})
            return
        delivered = {"stream_seq": consumer.last, "consumer_seq": consumer.deliveries}
        told: dict[str, Any] = {"delivered": delivered, "num_ack_pending": len(consumer.out)}
        now = datetime.fromtimestamp(self.wall(self.loop.time()), UTC)
        told["ts"] = now.isoformat(timespec="microseconds").replace("+00:00", "000Z")
        self._answer(reply, told)

    # -- objects --

    def _put_object(self, subject: str, data: bytes, headers: dict[str, str]) -> None:
        until = self.loop.time() + float(headers["Nats-TTL"].removesuffix("s"))
        self.objects[subject] = (data, until, self.loop.time())
        if data:
            self.on_object(data)

    def _get_object(self, sender: Connection, subject: str, reply: str) -> None:
        self.expire_objects()
        found = self.objects.get(subject)
        if found is None:
            sender.offer(Arrival(reply, b"", "", {"Status": "404"}))
        else:
            sender.offer(Arrival(reply, found[0], "", {"Nats-Sequence": "1"}))

    def expire_objects(self) -> None:
        """Drop the objects whose time is over."""
        now = self.loop.time()
        self.objects = {name: each for name, each in self.objects.items() if each[1] > now}


def _is_open(pull: _Pull) -> bool:
    client = pull.client
    return client.linked and client.session == pull.session and client.listens(pull.reply)
