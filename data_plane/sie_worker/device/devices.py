"""The devices of this host: one model-execution process each, behind one sidecar.

*shell*: owns a `Device` with its connection, scheduler and loaded models for each process. A model
is loaded where the fewest models are; inputs go to the device that holds their model and has the
least to do (`spreading`). A model is loaded on one more device, behind what runs there, when its
own are too busy. That is when all were busy `spread_after` times in a row while that device had
nothing to do. A device that is away gets nothing new; what waits for it goes back to the queue
after its grace.

Does not evict, and does not decide what is pulled.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from sie_core.resolver import ResolvedAdapter, ResolvedModel
from sie_schemas.errors import SIEError
from sie_schemas.fleet import ModelReport, ModelState
from sie_schemas.jobs import AdapterPin
from sie_worker.device.device import Device
from sie_worker.execution.models import LoadedModel
from sie_worker.scheduling.lanes import Lane, QueuedInput
from sie_worker.scheduling.spreading import spread

__all__ = ["Devices"]

_TOLD_FIRST: Final[tuple[ModelState, ...]] = ("available", "failed", "loading", "loaded")
"""The state that is told of a model of which devices say different things: the last of these."""


class Devices:
    """Every device behind this sidecar. `piece_cost_min` is what a batch of its own is worth."""

    def __init__(
        self, devices: Sequence[Device], *, spread_after: int, piece_cost_min: int
    ) -> None:
        self._devices = tuple(devices)
        self._spread_after = spread_after
        self._piece_cost_min = piece_cost_min
        self._homes: dict[str, Device] = {}
        """The device on which a revision is loaded first, by revision."""
        self._found_busy: dict[str, int] = {}
        """The number of times in a row that a revision's devices were busy beside an idle one."""
        self._group: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._devices)

    @property
    def cost_in_hand(self) -> int:
        """Cost of what waits for them and of what they run."""
        return sum(device.load for device in self._devices)

    @property
    def batches_out(self) -> int:
        """Batches that they were given and have not ended."""
        return sum(device.scheduler.batches_out for device in self._devices)

    @property
    def begun(self) -> tuple[int, float]:
        """Batches that were handed over since the start, and the sum of their fill."""
        return (
            sum(device.batches_begun for device in self._devices),
            sum(device.fill_begun for device in self._devices),
        )

    @property
    def connected(self) -> int:
        """The number of devices that can be given work."""
        return sum(device.connected for device in self._devices)

    @property
    def held(self) -> frozenset[str]:
        """The ids of the models that are loaded somewhere."""
        return frozenset().union(*(device.models.held for device in self._devices))

    @property
    def memory_bytes(self) -> int:
        """Bytes of what is loaded, on all devices."""
        return sum(device.models.memory_bytes for device in self._devices)

    @property
    def room_bytes(self) -> int:
        """Bytes that they have for models, all told; 0 where that is not known."""
        hellos = [device.hello for device in self._devices if device.hello is not None]
        own = sum(hello.memory_bytes for hello in hellos if not hello.memory_shared)
        return own + max((each.memory_bytes for each in hellos if each.memory_shared), default=0)

    @property
    def trouble(self) -> str:
        """In words: what is wrong with each device that is away or silent."""
        told = [(number, each.trouble) for number, each in enumerate(self._devices)]
        return "; ".join(f"device {number}: {trouble}" for number, trouble in told if trouble)

    def reports(self) -> dict[str, ModelReport]:
        """By model what became of it here: the best of what the devices say."""
        told: dict[str, ModelReport] = {}
        for device in self._devices:
            for name, report in device.models.reports().items():
                if name not in told or _rank(report) > _rank(told[name]):
                    told[name] = report
        return told

    def forget_failures(self, is_current: Callable[[str, str], bool]) -> None:
        """Tell no more of what failed and is not wanted now, by name and revision."""
        for device in self._devices:
            device.models.forget_failures(is_current)

    async def run(self, stop: asyncio.Event) -> None:
        """Run batches on every device until `stop`; those that run then are finished first."""
        stopping = asyncio.ensure_future(stop.wait())
        # One without work sleeps until somebody wakes it.
        stopping.add_done_callback(lambda _: self.wake())
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for device in self._devices:
                    group.create_task(device.run(stop))
        finally:
            stopping.cancel()

    def wake(self) -> None:
        """Something changed for all of them."""
        for device in self._devices:
            device.wake()

    async def wait_connected(self) -> None:
        """Return once a device can be given work, or the grace of one that is away has ended."""
        if self.connected:
            return
        coming = [asyncio.ensure_future(device.wait_connected()) for device in self._devices]
        try:
            await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in coming:
                each.cancel()

    def at_hand(self, revision: str) -> LoadedModel | None:
        """A model revision that is loaded somewhere already."""
        found = (device.models.at_hand(revision) for device in self._devices)
        return next((model for model in found if model is not None), None)

    def described(self, revision: str) -> LoadedModel | None:
        """A model revision that is loaded somewhere, or was: how its batches are made."""
        for device in self._devices:
            found = device.models.described(revision)
            if found is not None:
                return found
        return None

    async def ensure(self, resolved: ResolvedModel) -> LoadedModel:
        """Have a model revision loaded somewhere. Raises its load's error, or `ExecutorLost`.

        Whether it is pinned is told to every device that holds it.
        """
        first, *others = self._holders(resolved.revision)
        model = await first.models.ensure(resolved)
        for other in others:
            await _load(other, resolved)
        return model

    async def ensure_adapter(
        self, model: LoadedModel, pin: AdapterPin, adapter: ResolvedAdapter
    ) -> None:
        """Have an adapter loaded beside its model; other devices load it with the first batch."""
        holder = self._holders(model.resolved.revision)[0]
        await holder.models.ensure_adapter(model, pin, adapter)

    async def unload_unless(self, wanted: Callable[[ResolvedModel], bool]) -> None:
        """Free the revisions that are not wanted any more."""
        for device in self._devices:
            await device.models.unload_unless(wanted)
        held = frozenset().union(*(device.models.revisions for device in self._devices))
        for known in (self._homes, self._found_busy):
            for revision in set(known) - held:
                del known[revision]

    def add(
        self, lane: Lane, model: LoadedModel, inputs: Sequence[QueuedInput], *, now: float
    ) -> None:
        """Have the inputs of one job run."""
        devices = self._holders(model.resolved.revision)
        if len(devices) < len(self._devices):
            self._spread_model(model.resolved, devices)
        if len(devices) == 1:
            devices[0].add(lane, model, inputs, now=now)
            return
        # By what waits and not in turns: costs are known, and no batch moves from one device to
        # another once it waits there.
        places = spread(
            [item.cost for item in inputs],
            [device.load for device in devices],
            piece_cost_min=self._piece_cost_min,
        )
        for place, device in enumerate(devices):
            part = [item for item, at in zip(inputs, places, strict=True) if at == place]
            device.add(lane, model, part, now=now)

    def cancel(self, request_id: str) -> None:
        """Drop what waits of a request whose client left."""
        for device in self._devices:
            device.cancel(request_id)

    def drop_holds(self, holds: Collection[int]) -> None:
        """Drop what waits of some deliveries, wherever it waits."""
        for device in self._devices:
            device.scheduler.drop_holds(holds)

    def state(self) -> Mapping[str, Any]:
        """The part of `/readyz` that is about the devices."""
        losses = (device.trouble for device in self._devices if not device.connected)
        return {
            "executor": self.connected > 0,
            "executors": self.connected,
            "executor_loss": next(losses, ""),
        }

    def _home(self, revision: str) -> Device:
        """The device to load a revision on: chosen at once, so that it is loaded once."""
        home = self._homes.get(revision)
        if home is None or (not home.connected and self.connected):
            there = [device for device in self._devices if device.connected] or self._devices
            home = min(there, key=lambda device: (len(device.models.revisions), device.load))
            self._homes[revision] = home
        return home

    def _holders(self, revision: str) -> list[Device]:
        holders = [device for device in self._devices if revision in device.models.revisions]
        return holders or [self._home(revision)]

    def _spread_model(self, resolved: ResolvedModel, holders: Sequence[Device]) -> None:
        idle = [device for device in self._devices if device.connected and device.load == 0]
        if not self._spread_after or not idle or any(device.load == 0 for device in holders):
            self._found_busy.pop(resolved.revision, None)
            return
        times = self._found_busy.get(resolved.revision, 0) + 1
        # A copy may push another model out, so one busy moment is no reason for it.
        self._found_busy[resolved.revision] = times % self._spread_after
        if times >= self._spread_after and self._group is not None:
            self._group.create_task(_load(idle[0], resolved))


async def _load(device: Device, resolved: ResolvedModel) -> None:
    # The report of the load says why it failed; the model's other devices go on.
    with suppress(SIEError):
        await device.models.ensure(resolved)


def _rank(report: ModelReport) -> int:
    return _TOLD_FIRST.index(report.state)
