"""A backend: the code that runs one family of models.

*types.* A backend is found by its registered name (`names`). Its `Loader` gets a `ModelSpec` and
the `DeviceSpec`. It gives a `Backend`, or raises MODEL_LOAD_FAILED with reason and cure. All of its
methods run on the device's thread, but for `load_adapter` and `prepare`, which may run on any
thread beside a batch.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final, Literal, Protocol, TypeVar

from sie_schemas.documents import ProfileDocument, Tasks
from sie_schemas.errors import FixRequest, OurFault
from sie_schemas.ipc import Answers, Loaded, Option, RunBatch
from sie_schemas.items import Operation
from sie_schemas.jobs import AdapterPin
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.failures import load_failed
from sie_server.weights.skeletons import Skeletons
from sie_server.weights.sources import Weights

__all__ = [
    "Backend",
    "DeviceSpec",
    "Loader",
    "ModelSpec",
    "Verdict",
    "WithoutAdapters",
    "declared_options",
    "declares",
    "load_failed",
    "require_only",
    "require_operation",
    "require_outputs",
    "take",
    "unit_length",
]

T = TypeVar("T")
_DECLARED: Final = "sie_options"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The way in which an encoder runs, by its probe; `reason` is empty where it runs packed."""

    execution: Literal["packed", "padded", "alone"]
    reason: str
    prepacked: bool = False
    """True if its weights were laid out anew."""


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """The device of this process, its threads, and a folder for derived files."""

    name: str
    threads: int
    cache_folder: Path
    adapters: AdapterShelf = field(default_factory=AdapterShelf)
    """The adapters of every model on this device."""
    verdicts: dict[tuple[Path, str], Verdict] = field(default_factory=dict)
    """The verdicts on each folder and revision so far: a model that comes back is not probed."""
    skeletons: Skeletons = field(default_factory=Skeletons)
    """The skeletons of models that come and go."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model revision to load: verified weights and the resolved profile."""

    model_id: str
    revision: str
    weights: Weights
    tasks: Tasks
    profile: ProfileDocument


class Backend(Protocol):
    """One loaded model. A batch either is answered whole or raises; it leaves nothing behind."""

    def describe(self) -> Loaded:
        """The facts for the sidecar; `id` and `load_ms` are filled in by the caller."""
        ...

    def run(self, batch: RunBatch) -> Answers:
        """Answer a batch, one answer for each input in order.

        Raises `FixRequest` for inputs that the model does not take, before it touches the device,
        and ADAPTER_NOT_FOUND for an adapter that is not loaded.
        """
        ...

    def load_adapter(self, pin: AdapterPin, weights: Weights) -> None:
        """Make an adapter ready. Raises ADAPTER_LOAD_FAILED with the reason."""
        ...

    def prepare(self, batch: RunBatch) -> None:
        """Do beforehand, off the device's thread, what a batch would have to wait for."""
        ...

    def memory_bytes(self) -> int:
        """Bytes that the model holds, without its adapters."""
        ...

    def leave(self) -> None:
        """The model was unloaded: let go of what is held outside it."""
        ...


class Loader(Protocol):
    """The function that a backend's name stands for."""

    def __call__(self, spec: ModelSpec, device: DeviceSpec) -> Backend:
        """Load a model. Slow; raises MODEL_LOAD_FAILED."""
        ...


_Load = TypeVar("_Load", bound=Callable[..., Backend])


def declares(*options: Option) -> Callable[[_Load], _Load]:
    """For a loader of another package: the options that its backend takes, beside the general
    ones. Without it, none."""

    def declared(load: _Load) -> _Load:
        setattr(load, _DECLARED, options)
        return load

    return declared


def declared_options(load: Loader) -> tuple[Option, ...]:
    """The options that a loader declares."""
    found: tuple[Option, ...] = getattr(load, _DECLARED, ())
    return found


class WithoutAdapters:
    """The part of a backend that takes no adapters and needs nothing beforehand."""

    name: ClassVar[str]
    _spec: ModelSpec
    """Set by a subclass that calls `require`."""

    def load_adapter(self, pin: AdapterPin, weights: Weights) -> None:
        """Raises ADAPTER_LOAD_FAILED."""
        raise OurFault(f"the backend {self.name} takes no adapters", code="ADAPTER_LOAD_FAILED")

    def prepare(self, batch: RunBatch) -> None:
        """Nothing to do beforehand."""

    def leave(self) -> None:
        """Nothing is held outside the model."""

    def require(
        self, batch: RunBatch, operation: Operation, outputs: Set[str] = frozenset()
    ) -> None:
        """Refuse an operation, output or adapter that the model has not. Raises `FixRequest`."""
        require_operation(batch, self._spec.model_id, operation, outputs)
        self.require_base(batch)

    def require_base(self, batch: RunBatch) -> None:
        """Refuse a batch that names an adapter. Raises ADAPTER_NOT_FOUND."""
        for pin in (batch.adapter, *batch.adapters):
            if pin is not None:
                raise FixRequest(
                    f"the backend {self.name} has no adapter {pin.name}", code="ADAPTER_NOT_FOUND"
                )


def require_only(spec: ModelSpec, operation: Operation, outputs: Set[str] = frozenset()) -> None:
    """Refuse a model that is to do anything else as well. Raises MODEL_LOAD_FAILED.

    `outputs` are those of an `encode`, each of which it must have and no other.
    """
    if {name for name, task in spec.tasks if task is not None} != {operation}:
        raise load_failed(f"the backend {spec.profile.backend} does `{operation}` only")
    require_outputs(spec, outputs)


def require_outputs(spec: ModelSpec, outputs: Set[str]) -> None:
    """Refuse a model whose document names other outputs. Raises MODEL_LOAD_FAILED."""
    if spec.tasks.encode is not None and set(spec.tasks.encode.outputs) != outputs:
        raise load_failed(
            f"this model gives the output {' and '.join(sorted(outputs))}, and no other; its "
            f"document names {', '.join(spec.tasks.encode.outputs)}"
        )


def require_operation(
    batch: RunBatch, model_id: str, operation: Operation, outputs: Set[str] = frozenset()
) -> None:
    """Refuse an operation or an output that a model has not. Raises UNSUPPORTED_OPERATION."""
    if batch.operation != operation or set(batch.outputs) - outputs:
        raise FixRequest(
            f"{model_id} does {operation}"
            f"{' with the outputs ' + ', '.join(sorted(outputs)) if outputs else ''}, not "
            f"{batch.operation} with {', '.join(batch.outputs) or 'none'}",
            code="UNSUPPORTED_OPERATION",
        )


def unit_length(batch: RunBatch, model_id: str, outputs: Set[str]) -> bool | None:
    """True if the request wants vectors of length 1, False for the model's own; None where it does
    not say. Raises INVALID_REQUEST where it has no dense vectors for that."""
    wanted: bool | None = batch.options.get("normalize")
    if wanted is not None and "dense" not in outputs:
        raise FixRequest(
            f"$.params.options.normalize: it is of dense vectors, and {model_id} gives "
            f"{', '.join(sorted(outputs))} here; leave it out",
            field="$.params.options.normalize",
        )
    return wanted


def take(batch: RunBatch, kind: type[T]) -> list[T]:
    """The inputs of a batch, all of one kind. Raises INVALID_REQUEST when empty or of another."""
    if not batch.inputs:
        raise FixRequest("the batch has no inputs", field="inputs")
    for index, given in enumerate(batch.inputs):
        if not isinstance(given, kind):
            raise FixRequest(
                f"input {index} is a {type(given).__name__}; this model takes {kind.__name__}",
                field=f"inputs.{index}",
            )
    return [given for given in batch.inputs if isinstance(given, kind)]
