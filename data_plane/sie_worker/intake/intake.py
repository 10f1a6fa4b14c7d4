"""The intake: from a delivery of the queue to inputs that wait in their lane.

*shell*: takes a job in at once where all that it needs is at hand. Else that is done in a task of
its own, in the group it is given. Drops what nobody waits for before it costs anything. Catches up
with the job's epoch, for a bounded time, and has the model and the adapter loaded. Tokenizes in
native threads while the device runs. A job that cannot run ends here with a failure or goes back to
the queue, never in silence. A job that is larger than a message is fetched from the object store
first. Does not pull and does not run batches.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import msgspec

from sie_core.backend_options import GENERAL
from sie_core.chain import Position
from sie_runtime.process.aside import Aside
from sie_runtime.streams.deliveries import Delivery
from sie_runtime.streams.payload_store import PayloadGone
from sie_schemas.errors import FixRequest, Later, SIEError
from sie_schemas.ipc import ImageInput, PixelsInput
from sie_schemas.jobs import JOB_DECODER, JOB_VERSION, AdapterPin, Job, PayloadRef
from sie_schemas.malformed import MALFORMED
from sie_worker import metrics
from sie_worker.device.devices import Devices
from sie_worker.execution.executor import ExecutorLost
from sie_worker.execution.models import LoadedModel
from sie_worker.forms.lengths import is_short
from sie_worker.forms.tokenizing import Prepared, prepare
from sie_worker.intake.cancelled import CancelledRequests
from sie_worker.jobs.holds import Hold, Holds
from sie_worker.jobs.results import Results
from sie_worker.jobs.revisions import KnownRevisions
from sie_worker.scheduling.lanes import Lane, QueuedInput

__all__ = ["Intake", "IntakeLimits", "ObjectStore", "Replica"]

_Found = TypeVar("_Found")
_LOG: Final = logging.getLogger(__name__)
_SIDECAR_OPTIONS: Final = frozenset({"task", *(option.name for option in GENERAL)})
"""Options that were spent before the batch: in the lane's adapter, and in the tokens."""
_IMAGES: Final = (ImageInput, PixelsInput)
_STORED_ANEW: Final = 5
"""Pauses of a job that was given back, in which a gateway finds that its broker began anew."""
_HAS_LEFT: Final = "MODEL_LOADING"
"""The code by which model execution says so of the model that an adapter is for."""
_THREADS: Final = min(32, (os.cpu_count() or 1) + 4)
"""They run native code without the interpreter's lock, and wait for it at both ends."""


class Replica(Protocol):
    """The part of the log follower that the intake needs."""

    @property
    def position(self) -> Position | None:
        """The newest applied position."""

    @property
    def not_ready(self) -> str:
        """The reason why its registry is not to be counted on; empty where it is."""

    async def wait_for_epoch(self, log_id: str, epoch: int, *, timeout_s: float) -> bool:
        """Wait for a position; true if it was reached in time."""


class ObjectStore(Protocol):
    """The part of the payload store that the intake needs."""

    async def get(self, ref: PayloadRef) -> bytes:
        """The object. Raises `PayloadGone`, `BusUnavailable`."""


@dataclass(frozen=True, kw_only=True)
class IntakeLimits:
    """Bounds of the intake; see the settings of the same names."""

    catch_up_s: float
    retry_delay_s: float
    alone_after_deliveries: int
    inline_characters_max: int


class Intake:
    """Takes jobs in; `group` owns its tasks.

    `taken` is told of each job how many items it holds, its tenant and the time.
    """

    def __init__(
        self,
        *,
        replica: Replica,
        known: KnownRevisions,
        devices: Devices,
        holds: Holds,
        results: Results,
        objects: ObjectStore,
        cancelled: CancelledRequests,
        limits: IntakeLimits,
        clock: Callable[[], float],
        group: asyncio.TaskGroup,
        taken: Callable[[int, str, float], None],
    ) -> None:
        self._replica = replica
        self._known = known
        self._devices = devices
        self._holds = holds
        self._results = results
        self._objects = objects
        self._cancelled = cancelled
        self._limits = limits
        self._clock = clock
        self._group = group
        self._taken = taken
        self._threads = Aside("tokenize", threads=_THREADS)
        self._fetching: list[str] = []
        """Large jobs that are on their way from the object store; one twice that came twice."""

    @property
    def fetching(self) -> int:
        """The number of large jobs that are on their way from the object store."""
        return len(self._fetching)

    def held(self, job_ids: Collection[str]) -> list[str]:
        """Those of some jobs that were delivered here and have no end yet."""
        return [job_id for job_id in job_ids if self._holds.has(job_id) or job_id in self._fetching]

    def close(self) -> None:
        """Take nothing in any more."""
        self._threads.end()

    def take(self, delivery: Delivery) -> None:
        """Take one delivery in. Called inline by the puller; returns at once."""
        job = self._decoded(delivery, delivery.data)
        if job is None:
            return
        if self._is_over(delivery, job):
            return
        if job.payload is not None:
            self._fetching.append(job.job_id)
            self._group.create_task(self._fetch(delivery, job, job.payload))
        else:
            self._hold(delivery, job)

    def _is_over(self, delivery: Delivery, job: Job) -> bool:
        """True if nobody waits for a job any more, which the queue is told."""
        # Acknowledgements are sent and not confirmed: one that was lost means one more delivery, of
        # a job that was answered.
        if not self._holds.was_settled(job.job_id):
            if job.request_id not in self._cancelled:
                return False
            metrics.JOBS.labels(outcome="dropped").inc()
        delivery.ack()
        return True

    def _decoded(self, delivery: Delivery, data: bytes) -> Job | None:
        try:
            return JOB_DECODER.decode(data)
        except MALFORMED as error:
            # Nobody can be told: what cannot be read names no inbox.
            _LOG.warning("a job on the queue cannot be read and is dropped: %s", error)
            metrics.JOBS.labels(outcome="unreadable").inc()
            delivery.terminate()
            return None

    async def _fetch(self, delivery: Delivery, short: Job, ref: PayloadRef) -> None:
        """Get a job from the object store, whose reader waits for it while it is there."""
        try:
            data = await self._objects.get(ref)
        except PayloadGone as error:
            await self._without_contents(delivery, short, str(error))
        except SIEError as error:
            _LOG.info("a large job goes back to the queue: %s", error.message)
            delivery.retry(self._limits.retry_delay_s)
        else:
            job = self._decoded(delivery, data)
            # It may have come twice, and been answered while it was on its way for the second time.
            if job is not None and not self._is_over(delivery, job):
                # The message may be a later one than what stands apart.
                told = msgspec.structs.replace(
                    job, published_at=short.published_at, deadline=short.deadline
                )
                self._hold(delivery, told)
        finally:
            self._fetching.remove(short.job_id)

    async def _without_contents(self, delivery: Delivery, short: Job, reason: str) -> None:
        """Its request has ended; or a broker that was killed forgot what stood apart, and the
        gateway stores that anew. Nobody waits in vain: in the end it is told."""
        if self._is_over(delivery, short):
            return
        if not delivery.last_delivery:
            delivery.retry(_STORED_ANEW * self._limits.retry_delay_s)
        elif (hold := self._holds.open(short, delivery, self._clock())) is not None:
            await self._results.fail([hold], Later(reason))

    def _hold(self, delivery: Delivery, job: Job) -> None:
        now = self._clock()
        hold = self._holds.open(job, delivery, now)
        if hold is None:
            return
        self._taken(len(job.items), job.tenant, now)
        model = self._at_hand(job)
        prepared = _prepared(job, model) if model is not None else None
        if model is None or prepared is None or not self._enqueued(hold, model, prepared):
            self._group.create_task(self._admit(hold))

    def _at_hand(self, job: Job) -> LoadedModel | None:
        """The model of a job that wants nothing else to be waited for, if it is known how to make
        its inputs. Where it has left the device, they wait for it in their lane."""
        model = self._devices.described(job.model_revision)
        if (
            model is None
            or job.v > JOB_VERSION
            or job.adapter is not None
            or job.operation not in model.resolved.operations
            or (job.model_id, job.profile) != (model.resolved.model_id, model.resolved.profile)
            or not self._is_short(job)
        ):
            return None
        return model

    async def _admit(self, hold: Hold) -> None:
        try:
            if self._is_unwanted(hold):
                self._results.drop([hold])
                return
            model = await self._ready(hold)
            prepared = await self._prepare(hold, model)
        except (_Behind, ExecutorLost) as error:
            await self._results.give_back([hold], error, delay_s=self._limits.retry_delay_s)
        except SIEError as error:
            await self._results.fail([hold], error)
        else:
            await self._enqueue(hold, model, prepared)

    async def _ready(self, hold: Hold) -> LoadedModel:
        """The loaded model of a job, its adapter loaded beside it."""
        job = hold.job
        if job.v > JOB_VERSION:
            raise Later(
                f"this worker reads jobs up to version {JOB_VERSION}, not {job.v}", code="NOT_READY"
            )
        resolved = await self._found(
            job, lambda: self._known.model(job.model_id, job.profile, job.model_revision)
        )
        if resolved is None:
            raise _changed(f"model {job.model_id}:{job.profile}", job.model_revision)
        if job.operation not in resolved.operations:
            raise FixRequest(
                f"model {job.model_id} does not {job.operation}", code="UNSUPPORTED_OPERATION"
            )
        # Known from an earlier load is enough to tokenize by; the inputs of a model that left wait
        # in their lane, where the device chooses when to load it.
        model = self._devices.described(resolved.revision)
        if model is None:
            # A job that came while every process is away would use up its deliveries meanwhile.
            await self._devices.wait_connected()
            model = await self._devices.ensure(resolved)
        if job.adapter is not None:
            await self._ready_adapter(hold, model, job.adapter)
        return model

    async def _ready_adapter(self, hold: Hold, model: LoadedModel, pin: AdapterPin) -> None:
        job = hold.job
        adapter = await self._found(job, lambda: self._known.adapter(job.model_id, pin))
        if adapter is None:
            raise _changed(f"adapter {pin.name}", pin.revision)
        # Beside a model that has left, its batch has the adapter loaded.
        if self._devices.at_hand(job.model_revision) is not None:
            try:
                await self._devices.ensure_adapter(model, pin, adapter)
            except Later as error:
                if error.code != _HAS_LEFT:
                    raise
        hold.adapter = adapter

    async def _found(self, job: Job, find: Callable[[], _Found | None]) -> _Found | None:
        """Find what a job names. A known revision is right at any epoch: no catching up then."""
        found = find()
        if found is None:
            await self._catch_up(job)
            found = find()
        return found

    async def _catch_up(self, job: Job) -> None:
        position = self._replica.position
        if position is not None and position.log_id == job.log_id and position.epoch >= job.epoch:
            return
        reached = await self._replica.wait_for_epoch(
            job.log_id, job.epoch, timeout_s=self._limits.catch_up_s
        )
        if not reached:
            raise _Behind(
                f"this worker has not reached epoch {job.log_id[:8]}.{job.epoch} yet",
                code="NOT_READY",
            )

    def _is_short(self, job: Job) -> bool:
        return is_short(job, characters_max=self._limits.inline_characters_max)

    async def _prepare(self, hold: Hold, model: LoadedModel) -> Prepared:
        job = hold.job
        if self._is_short(job):
            return prepare(job, model.loaded, model.tokenizer)
        return await self._threads.run(prepare, job, model.loaded, model.tokenizer)

    async def _enqueue(self, hold: Hold, model: LoadedModel, prepared: Prepared) -> None:
        if self._is_unwanted(hold):
            self._results.drop([hold])
        elif not self._enqueued(hold, model, prepared):
            self._holds.settle_items(
                (hold, failure.index, FixRequest(failure.message, code=failure.code))
                for failure in prepared.failures
            )
            if hold.is_complete:
                await self._results.deliver([hold])
            else:
                self._add(hold, model, prepared)

    def _enqueued(self, hold: Hold, model: LoadedModel, prepared: Prepared) -> bool:
        """Put the inputs of a job into their lane, if nothing else is to be done with it."""
        if not prepared.inputs or prepared.failures or self._is_unwanted(hold):
            return False
        self._add(hold, model, prepared)
        return True

    def _add(self, hold: Hold, model: LoadedModel, prepared: Prepared) -> None:
        hold.model = model
        hold.input_tokens = prepared.tokens
        hold.tokenization_ms = prepared.took_ms
        job, now = hold.job, self._clock()
        inputs: dict[bool, list[QueuedInput]] = {}
        for index, payload, cost in prepared.inputs:
            queued = QueuedInput(
                hold.number, job.request_id, index, cost, hold.deadline, payload, job.tenant
            )
            inputs.setdefault(isinstance(payload, _IMAGES), []).append(queued)
        for images, part in inputs.items():
            self._devices.add(self._lane(hold, model, images=images), model, part, now=now)

    def _is_unwanted(self, hold: Hold) -> bool:
        """True if nobody waits for it: past its deadline, or its client left."""
        return hold.deadline <= self._clock() or hold.job.request_id in self._cancelled

    def _lane(self, hold: Hold, model: LoadedModel, *, images: bool) -> Lane:
        job = hold.job
        # A job that was delivered before may be what took its batch down: no batch-mates then.
        suspect = hold.delivery.delivery_count > self._limits.alone_after_deliveries
        return Lane(
            model_revision=job.model_revision,
            profile=job.profile,
            operation=job.operation,
            # Where adapters share a packed pass they share the lane: each input names its own.
            adapter=None if model.loaded.fuses_adapters else job.adapter,
            outputs=job.output_types,
            labels=job.labels,
            options=_options_key(job.options),
            alone=job.job_id if suspect else "",
            images=images,
        )


def _prepared(job: Job, model: LoadedModel) -> Prepared | None:
    """The inputs of a job; None where making them fails, which its own task then tells."""
    try:
        return prepare(job, model.loaded, model.tokenizer)
    except SIEError:
        return None


class _Behind(Later):
    """The replica has not caught up with a job; another worker may have."""


def _options_key(options: dict[str, Any]) -> bytes:
    if not options:
        return b""
    passed = {name: value for name, value in options.items() if name not in _SIDECAR_OPTIONS}
    return msgspec.json.encode(passed, order="sorted") if passed else b""


def _changed(what: str, revision: str) -> Later:
    return Later(f"{what} is not at revision {revision[:12]} here", code="REVISION_CHANGED")
