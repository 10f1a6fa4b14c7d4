"""Models: what is loaded in the execution process, made so on demand, once.

*shell*: owns what this sidecar knows to be loaded on the executor's present connection. Promises:

- Concurrent demands for one revision make one load.
- A load that failed is not tried again before its cooldown has passed; its error is given instead.
- Everything is loaded anew after the execution process was lost.

Several revisions of a model may be loaded side by side. How batches of a model are made is
remembered when it has left, so that its inputs can be prepared before it is back.

Does not evict: memory is model execution's own matter. It says with each load and each pong what is
loaded, and a batch that finds its model gone makes the device loop `forget` it. `unload_unless`
frees what no job can name any more.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Set
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from sie_core.resolver import ResolvedAdapter, ResolvedModel
from sie_runtime.process.aside import Aside
from sie_schemas.errors import Later, SIEError, error_for
from sie_schemas.fleet import ModelReport, ModelState
from sie_schemas.ipc import Loaded
from sie_schemas.jobs import AdapterPin
from sie_schemas.revisions import profile_config
from sie_worker.execution.executor import Executor, ExecutorLost
from sie_worker.forms.tokenizing import Tokenizer
from sie_worker.scheduling.lanes import Limits

__all__ = ["LoadedModel", "Models"]

_REMEMBERED_MAX: Final = 64
"""Models that have left whose tokenizers are kept: some megabytes each."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model revision that is ready, and how its batches are made."""

    resolved: ResolvedModel
    loaded: Loaded
    tokenizer: Tokenizer | None
    limits: Limits
    pinned: bool


@dataclass(frozen=True, slots=True)
class _Failure:
    until: float
    error: SIEError


@dataclass(slots=True)
class _Turn:
    """The demands for one load: who holds the lock loads, who waits finds it done, or failed."""

    lock: asyncio.Lock
    demands: int = 0


class Models:
    """The models that are loaded. One owner: the event loop of this process."""

    def __init__(
        self,
        executor: Executor,
        *,
        cooldown_s: float,
        latency_s: float | None,
        pinned: Callable[[ResolvedModel], bool],
        clock: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        self._executor = executor
        self._reading = Aside("tokenizers")
        self._cooldown_s = cooldown_s
        self._pinned = pinned
        """True if the config wants a model kept; asked at each demand, since it may change."""
        self._latency_s = latency_s
        """The latency target of profiles that state none."""
        self._clock = clock
        self._on_change = on_change
        self._loaded: dict[str, LoadedModel] = {}
        """By revision."""
        self._left: dict[str, LoadedModel] = {}
        """The models that have left, by revision; what was asked for last is the last."""
        self._adapters: set[tuple[str, AdapterPin]] = set()
        """(model revision, adapter)."""
        self._failures: dict[Hashable, _Failure] = {}
        """By revision, or (model revision, adapter)."""
        self._turns: dict[Hashable, _Turn] = {}
        """One for each load that runs."""
        self._reports: dict[str, ModelReport] = {}
        self._loading: dict[str, str] = {}
        """By the name in the reports, the hub source that a load which runs may have to fetch."""
        executor.on_change(self._forget_all)
        executor.on_resident(self._forget_absent)

    @property
    def held(self) -> frozenset[str]:
        """The ids of the models that are loaded, in whatever revision."""
        return frozenset(model.resolved.model_id for model in self._loaded.values())

    @property
    def revisions(self) -> Set[str]:
        """The revisions that are loaded: a view of what is so when it is looked at."""
        return self._loaded.keys()

    @property
    def memory_bytes(self) -> int:
        """Bytes of what is loaded."""
        return sum(model.loaded.memory_bytes for model in self._loaded.values())

    def reports(self) -> dict[str, ModelReport]:
        """By model id what became of each model that was asked for.

        A profile other than the default one is told as `<model id>:<profile>`, an adapter that was
        refused as `<model id>[:<profile>]+<adapter>`.
        """
        return {name: self._with_download(name, report) for name, report in self._reports.items()}

    def forget_failures(self, is_current: Callable[[str, str], bool]) -> None:
        """Tell no more of what failed and is not wanted now. `is_current` takes a name as the
        reports have it, and a revision."""
        for name, report in [*self._reports.items()]:
            if report.state == "failed" and not is_current(name, report.revision):
                del self._reports[name]
                self._on_change()

    def _with_download(self, name: str, report: ModelReport) -> ModelReport:
        told = self._executor.downloading.get(self._loading.get(name, ""))
        if told is None or report.state != "loading":
            return report
        return replace(report, reason=f"downloading: {told}")

    def at_hand(self, revision: str) -> LoadedModel | None:
        """A model revision that is loaded, without waiting for it."""
        return self._loaded.get(revision)

    def described(self, revision: str) -> LoadedModel | None:
        """A model revision that is loaded, or was: how its batches are made."""
        found = self.at_hand(revision)
        if found is None and (found := self._left.pop(revision, None)) is not None:
            self._left[revision] = found
        return found

    def fits(self, revision: str) -> bool:
        """True if a model that has left has room beside the others, as far as can be told."""
        hello, left = self._executor.hello, self._left.get(revision)
        if hello is None or left is None or not hello.memory_bytes:
            return True
        return self.memory_bytes + left.loaded.memory_bytes <= hello.memory_bytes

    async def ensure(
        self,
        resolved: ResolvedModel,
        *,
        running: Collection[str] = (),
    ) -> LoadedModel:
        """Have a model revision loaded. Raises its load's error, or `ExecutorLost`.

        Where others must leave for it, those that are `running` leave last.
        """
        revision = resolved.revision
        found = self._loaded.get(revision)
        if found is not None and found.pinned == self._pinned(resolved):
            return found
        async with self._single(revision):
            found = self._loaded.get(revision)
            if found is None or found.pinned != self._pinned(resolved):
                self._refuse_while_cooling(revision)
                self._loaded[revision] = found = await self._load(resolved, running)
                self._left.pop(revision, None)
                # It may have been made to leave again as it came.
                self._forget_absent()
            return found

    async def ensure_adapter(
        self, model: LoadedModel, pin: AdapterPin, adapter: ResolvedAdapter
    ) -> None:
        """Have an adapter loaded beside its model. Raises its load's error, or `ExecutorLost`."""
        key = (model.resolved.revision, pin)
        if key in self._adapters:
            return
        async with self._single(key):
            if key in self._adapters:
                return
            self._refuse_while_cooling(key)
            try:
                await self._executor.load_adapter(key[0], pin, dict(adapter.document))
            except SIEError as error:
                self._cool_down(key, error)
                self._report_refused(model.resolved, pin, error)
                raise
            self._adapters.add(key)
            if self._reports.pop(_adapter_name(model.resolved, pin), None) is not None:
                self._on_change()

    def forget(self, revision: str) -> None:
        """Model execution says that it does not have a revision, or an adapter of it, any more."""
        gone = self._loaded.pop(revision, None)
        self._adapters = {key for key in self._adapters if key[0] != revision}
        if gone is not None:
            self._left[revision] = gone
            if len(self._left) > _REMEMBERED_MAX:
                del self._left[next(iter(self._left))]
            self._report(gone.resolved, ModelReport(state="available"))

    async def unload_unless(self, wanted: Callable[[ResolvedModel], bool]) -> None:
        """Free the revisions that are not wanted any more."""
        self._left = {key: model for key, model in self._left.items() if wanted(model.resolved)}
        for revision, model in list(self._loaded.items()):
            if wanted(model.resolved):
                continue
            self._loaded.pop(revision, None)
            self._adapters = {key for key in self._adapters if key[0] != revision}
            name = model.resolved.name
            if self._reports.get(name, _NO_REPORT).revision == revision:
                for told in [key for key in self._reports if key.split("+")[0] == name]:
                    del self._reports[told]
                self._on_change()
            # Where it cannot be freed it is not ours to mend: eviction frees it under pressure.
            with suppress(SIEError):
                await self._executor.unload(revision)

    async def _load(self, resolved: ResolvedModel, running: Collection[str]) -> LoadedModel:
        self._report(resolved, ModelReport(state="loading", revision=resolved.revision))
        connection = self._executor.connections
        pinned = self._pinned(resolved)
        self._loading[resolved.name] = _hub_name(resolved)
        try:
            config = profile_config(resolved.document, resolved.profile)
            loaded = await self._executor.load(
                resolved.revision, config, pinned=pinned, running=running
            )
            tokenizer = await self._tokenizer(resolved.revision, loaded)
            # What is loaded belongs to a life of the process; a load that spans two belongs to
            # none.
            if connection != self._executor.connections:
                raise ExecutorLost("model execution was lost after the load")
        except SIEError as error:
            self._cool_down(resolved.revision, error)
            state: ModelState = "available" if isinstance(error, Later) else "failed"
            self._report(
                resolved,
                ModelReport(state=state, revision=resolved.revision, reason=error.message),
            )
            raise
        finally:
            self._loading.pop(resolved.name, None)
        self._report(
            resolved,
            ModelReport(
                state="loaded",
                revision=resolved.revision,
                dims=loaded.dims,
                max_sequence_length=loaded.max_sequence_length,
            ),
        )
        return LoadedModel(
            resolved, loaded, tokenizer, _limits(resolved, loaded, self._latency_s), pinned
        )

    async def _tokenizer(self, revision: str, loaded: Loaded) -> Tokenizer | None:
        if loaded.accepts != "tokens":
            return None
        left = self._left.get(revision)
        if left is not None and left.loaded.tokenizer_sha256 == loaded.tokenizer_sha256:
            return left.tokenizer
        # A thread: megabytes of JSON would hold up the loop, and with it every heartbeat.
        return await self._reading.run(Tokenizer.read, loaded)

    @asynccontextmanager
    async def _single(self, key: Hashable) -> AsyncIterator[None]:
        turn = self._turns.setdefault(key, _Turn(asyncio.Lock()))
        turn.demands += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.demands -= 1
            # Not while somebody waits: who comes now would not meet the load that begins then.
            if not turn.demands:
                del self._turns[key]

    def _refuse_while_cooling(self, key: Hashable) -> None:
        failure = self._failures.get(key)
        if failure is None:
            return
        if self._clock() >= failure.until:
            del self._failures[key]
            return
        error = failure.error
        raise error_for(error.code, error.message, retry_after_s=error.retry_after_s)

    def _cool_down(self, key: Hashable, error: SIEError) -> None:
        # What only has to wait (the process is gone, memory is short) is not a failed load.
        if not isinstance(error, Later):
            self._failures[key] = _Failure(self._clock() + self._cooldown_s, error)

    def _forget_absent(self) -> None:
        """Model execution said what is loaded."""
        resident = self._executor.resident
        for revision in [] if resident is None else self._loaded.keys() - resident:
            self.forget(revision)

    def _forget_all(self) -> None:
        """A connection was made or lost."""
        self._loaded.clear()
        self._left.clear()
        self._adapters.clear()
        self._failures.clear()
        self._reports.clear()

    def _report_refused(self, resolved: ResolvedModel, pin: AdapterPin, error: SIEError) -> None:
        if isinstance(error, Later):
            return
        self._reports[_adapter_name(resolved, pin)] = ModelReport(
            state="failed", revision=pin.revision, reason=error.message
        )
        self._on_change()

    def _report(self, resolved: ResolvedModel, report: ModelReport) -> None:
        self._reports[resolved.name] = report
        self._on_change()


_NO_REPORT: Final = ModelReport(state="available")


def _hub_name(resolved: ResolvedModel) -> str:
    """The source as model execution names it in a `Pong`; empty where it is not a hub's."""
    source = resolved.document["source"]
    return f"{source['id']}@{source['revision']}" if source["type"] == "hub" else ""


def _adapter_name(resolved: ResolvedModel, pin: AdapterPin) -> str:
    return f"{resolved.name}+{pin.name}"


def _limits(resolved: ResolvedModel, loaded: Loaded, latency_s: float | None) -> Limits:
    profile = resolved.profile_document
    stated_ms = profile.get("batch_latency_ms")
    return Limits(
        cost_max=profile["batch_cost_max"],
        items_max=profile["batch_items_max"],
        wait_s=profile["batch_wait_ms"] / 1000,
        latency_s=latency_s if stated_ms is None else stated_ms / 1000,
        batch_invariant=profile["batch_invariant"] and loaded.batch_invariant,
        padded=loaded.execution == "padded",
    )
