"""A simulated world that serves: gateways, workers, devices and a broker, and the laws over them.

*shell.* Owns everything that exists in one run.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Final

from sie_gateway.settings import GatewaySettings
from sie_schemas.fleet import WorkerKind
from sie_schemas.jobs import (
    JOB_DECODER,
    JOB_ENCODER,
    RECEIPT_DECODER,
    JobFailure,
    JobResult,
    ResultBatch,
    consumer_name,
    stream_name,
    subject,
)
from sie_schemas.malformed import MALFORMED
from sie_testing.serving.ground import EPOCH_S, ServingGround
from sie_testing.serving.laws import Laws
from sie_testing.serving.models import BUNDLES, MODELS, POOLS, PROFILE, Place
from sie_testing.serving.processes import (
    ExecutionProcess,
    GatewayProcess,
    WorkerProcess,
    life_of,
)
from sie_testing.serving.queue_broker import QueueBroker, StoredJob
from sie_testing.serving.queue_client import QueueClient
from sie_testing.stage.broken import Broken
from sie_testing.stage.broker import Connection
from sie_testing.stage.loop import Host
from sie_testing.stage.process import Process
from sie_testing.stage.surroundings import chance_of
from sie_worker.settings import WorkerSettings

__all__ = ["ServingWorld", "Word"]

_BROKER_AHEAD_S: Final = 5400.0
"""The broker's clock is nobody else's, and deadlines hold by it alone."""
_ACK_WAIT_S: Final = 8.0
_SWEEP_S: Final = 1.0
_TIMEOUT_S: Final = 30.0
"""Longer than any fault, so that no request may run out of its time."""
Word = Callable[[Connection, str, bytes], bool]
_RECEIPTS: Final = "sie.answer.worker."


class ServingWorld(ServingGround):
    """See the module. One per seed."""

    def __init__(
        self,
        seed: int,
        *,
        calm: bool,
        workers: int,
        large_results: bool,
        places: Sequence[Place] = (),
    ) -> None:
        """`workers` are at the models' first place; at each of `places` there is one more."""

        super().__init__(chance_of(f"{seed}/serving"))
        where = [*[Place()] * workers, *places]
        self.pools: Final = [pool for pool in POOLS if any(each.pool == pool for each in where)]
        self.laws = Laws(
            self.history,
            self.loop.time,
            calm,
            len(where) == 1,
            self.leases,
            frozenset(WorkerKind(each.pool, PROFILE, each.bundle) for each in where),
        )
        self.broker = self._made_broker()
        self.overhears: Word = lambda sender, subject, data: True
        """A fault that waits for a message: whether it goes on."""
        gateway, worker = _settings(large_results)
        self.gateways: Final = [GatewayProcess(self, f"gateway-{n}", gateway) for n in range(2)]
        self.workers: Final = [
            WorkerProcess(self, f"worker-{n}", worker(f"/socket-{n}", place))
            for n, place in enumerate(where)
        ]
        self.executions: Final = [
            ExecutionProcess(self, f"execution-{n}", f"/socket-{n}") for n in range(len(where))
        ]
        self._config = QueueClient(self.broker, Host("config"), self.network_rng)
        self._config.linked = self._config.is_connected = True

    @property
    def processes(self) -> list[Process[ServingGround]]:
        """Every process that there is."""
        return [*self.gateways, *self.workers, *self.executions]

    @property
    def checks(self) -> Mapping[str, int]:
        """The times that each law was put to the test."""
        return self.laws.checks

    def hear_config(self) -> None:
        """Something was written: everybody comes to it."""
        for process in (*self.gateways, *self.workers):
            if process.following is not None:
                process.following.hear()

    def runs(self, text: str, revision: str, adapter: str, execution: str) -> None:
        """A device was handed a text."""
        worker = self.workers[[each.name for each in self.executions].index(execution)]
        life = life_of(worker.host) if worker.host is not None else ""
        self.laws.checks["clocks that differ change nothing"] += self._is_skewed(text)
        self._judged(lambda: self.laws.runs(text, revision, adapter, life))

    def _is_skewed(self, text: str) -> bool:
        """True if the gateway that asks for a text has another time than the other hosts."""
        name = self.laws.gateway_of(text)
        return any(each.name == name and each.skew_s for each in self.gateways)

    def _judged(self, judge: Callable[[], None]) -> None:
        try:
            judge()
        except Broken as error:
            self.breaks(error)

    # -- the broker's words --

    def _made_broker(self) -> QueueBroker:
        broker = QueueBroker(
            self.loop,
            self.network,
            ack_wait_s=_ACK_WAIT_S,
            deliveries_max=5,
        )
        for pool, bundle, model in product(POOLS, BUNDLES, MODELS):
            broker.add_consumer(
                stream_name(pool),
                consumer_name(PROFILE, bundle, model),
                subject(pool, PROFILE, bundle, model),
            )
        broker.on_effect = self.took_effect
        broker.on_job = self._note_job
        broker.on_object = self._note_object
        broker.on_again = self._note_again
        broker.on_end = self._note_end
        broker.on_exceeded = lambda job: self.later(_SWEEP_S, lambda: self._sweep(job))
        broker.carries = self._carries
        broker.wall = lambda at: EPOCH_S + _BROKER_AHEAD_S + at
        return broker

    def _note_job(self, stored: StoredJob) -> None:
        job = JOB_DECODER.decode(stored.data)
        self._judged(lambda: self.laws.placed(job, stored.subject))
        if job.payload is None:
            self.laws.published(job)

    def _note_again(self, to: Connection, job: StoredJob, count: int) -> None:
        self.trace.say("broker", f"hands {job.job_id} out to {to.host.name}, time {count}")

    def _note_object(self, data: bytes) -> None:
        self.count("a job larger than a message")
        self.laws.published(JOB_DECODER.decode(data))

    def _note_end(self, job: StoredJob, word: str) -> None:
        if word != "swept":
            waiting = [each.parts.dispatcher for each in self.gateways if each.parts is not None]
            waits = any(job.job_id in dispatcher._waiting for dispatcher in waiting)
            self._judged(lambda: self.laws.job_ended(job.job_id, word, waits=waits))

    def _carries(self, sender: Connection, subject_name: str, data: bytes) -> bool:
        if subject_name.startswith(_RECEIPTS) and sender.host.name.startswith("gateway"):
            self._note_receipt(int(subject_name.split(".")[3]), data)
        return self.overhears(sender, subject_name, data)

    def _note_receipt(self, connection: int, data: bytes) -> None:
        try:
            receipt = RECEIPT_DECODER.decode(data)
        except MALFORMED:
            return
        if receipt.chunk is not None:
            self.count("a chunk of a large result")
        for job_id in receipt.job_ids:
            self.laws.confirmed(job_id, self.lives[connection])

    def _sweep(self, stored: StoredJob) -> None:
        """As sie-config does with a job that nobody gets any more."""
        if not self.broker.up or not self._config.linked:
            self.later(_SWEEP_S, lambda: self._sweep(stored))
            return
        if stored.sequence not in self.broker.jobs:
            return
        job = JOB_DECODER.decode(stored.data)
        self.count("a job is swept")
        if job.deadline - job.published_at > self.loop.time() - stored.at:
            self.broker.letters.append(job.job_id)
            failure = JobResult(
                job_id=job.job_id,
                request_id=job.request_id,
                first_item=job.first_item,
                failure=JobFailure("INFERENCE_ERROR", "no worker came to an end with it"),
                model_revision=job.model_revision,
                adapter=job.adapter,
            )
            said = ResultBatch(worker_id="", results=(failure,))
            self._config.send(job.reply_to, JOB_ENCODER.encode(said))
        self.broker.drop_job(stored.sequence)

    # -- at the end --

    def left_over(self) -> str:
        """All that should be gone once every request has ended; empty when nothing is left."""
        broker = self.broker
        broker.expire_objects()
        found: dict[str, object] = {
            "jobs in the queue": [
                job.job_id for job in broker.jobs.values() if self._is_taken(job)
            ],
            "objects": sum(bool(data) for data, *_ in broker.objects.values()),
        }
        for gateway in self.gateways:
            parts, inference = gateway.parts, gateway.inference
            if parts is not None and inference is not None:
                found[f"jobs waited for by {gateway.name}"] = parts.dispatcher.waiting
                found[f"chunk bytes of {gateway.name}"] = parts.dispatcher._chunks.reserved
                found[f"objects of {gateway.name}"] = len(parts.dispatcher._stored)
                found[f"items in flight of {gateway.name}"] = inference._in_flight.items
                found[f"waits of {gateway.name}"] = len(inference._young) + len(inference._old)
        for process in self.workers:
            worker = process.worker
            if worker is not None:
                found[f"holds of {process.name}"] = len(worker._holds)
                found[f"items of {process.name}"] = worker._holds.open_items
                found[f"cost of {process.name}"] = worker._devices.cost_in_hand
                found[f"batches of {process.name}"] = worker._devices.batches_out
        return "; ".join(f"{name}: {value}" for name, value in found.items() if value)

    def _is_taken(self, stored: StoredJob) -> bool:
        """True if somebody pulls where a job lies. Else the queue's own age ends it: its request
        has gone elsewhere."""
        job = JOB_DECODER.decode(stored.data)
        return any(
            subject(kind.pool, PROFILE, kind.bundle, job.model_id) == stored.subject
            and self.history.head.can_run(job.model_id, kind.bundle)
            for kind in self.laws.kinds
        )


def _settings(
    large_results: bool,
) -> tuple[GatewaySettings, Callable[[str, Place], WorkerSettings]]:
    """Those of a gateway, and of a worker by its socket and place: short times, small bounds."""
    gateway = GatewaySettings(
        queue_ack_wait_s=_ACK_WAIT_S,
        queue_publish_timeout_s=2.0,
        request_timeout_s=_TIMEOUT_S,
        job_items_max=16 if large_results else 3,
        payload_bytes_max=4096,
        chunked_bytes_max=4000,
    )

    def worker(path: str, place: Place) -> WorkerSettings:
        return WorkerSettings(
            pool=place.pool,
            bundle=place.bundle,
            queue_ack_wait_s=_ACK_WAIT_S,
            queue_publish_timeout_s=2.0,
            socket_path=(path,),
            queue_pull_expires_s=5.0,
            hold_extend_s=2.0,
            confirm_timeout_s=1.0,
            result_bytes_max=1300 if large_results else 1_000_000,
            batch_timeout_s=6.0,
            ping_interval_s=2.0,
            ping_timeout_s=3.0,
            executor_grace_s=4.0,
            load_timeout_s=10.0,
            drain_s=3.0,
            placement_look_s=0.5,
        )

    return gateway, worker
