"""The documents of a registry, decoded: what their JSON holds.

*types.* They were checked when they were admitted, by the models of `sie_schemas.documents`. They
are read as they lie in the log: absent is not null, and a field that a later release added is not
required. Nothing is copied or checked at run time.
"""

from collections.abc import Mapping
from typing import Any, NotRequired, TypeAlias, TypedDict

__all__ = [
    "AdapterJson",
    "BundleJson",
    "DocumentJson",
    "ModelJson",
    "OptionJson",
    "PoolJson",
    "ProfileJson",
    "TasksJson",
]

OptionJson: TypeAlias = bool | int | float | str


class _EncodeJson(TypedDict):
    outputs: list[str]


class _ExtractJson(TypedDict):
    labels: NotRequired[list[str]]


class TasksJson(TypedDict, total=False):
    """The operations of a model, each with what it gives."""

    encode: _EncodeJson
    score: dict[str, Any]
    extract: _ExtractJson


class ProfileJson(TypedDict):
    """A way to run a model."""

    backend: str
    dtype: str
    batch_cost_max: int
    batch_items_max: int
    batch_wait_ms: float
    batch_latency_ms: NotRequired[float]
    batch_invariant: bool
    max_sequence_length: NotRequired[int]
    options: dict[str, OptionJson]


class ModelJson(TypedDict):
    """A model. `source` is one of three; its `type` tells which."""

    model_id: str
    source: dict[str, Any]
    tasks: TasksJson
    profiles: dict[str, ProfileJson]
    aliases: NotRequired[list[str]]
    pool: str
    description: NotRequired[str]


class AdapterJson(TypedDict):
    """An adapter of a model."""

    model_id: str
    name: str
    source: dict[str, Any]
    description: NotRequired[str]


class BundleJson(TypedDict):
    """A set of backends that one worker image runs."""

    name: str
    backends: list[str]
    priority: int
    description: NotRequired[str]


class PoolJson(TypedDict):
    """Capacity that is isolated."""

    name: str
    machine_profiles: list[str]
    workers_min: NotRequired[int]
    workers_max: NotRequired[int]
    pinned_models: NotRequired[list[str]]
    description: NotRequired[str]


DocumentJson: TypeAlias = Mapping[str, Any]
"""A document of any kind, or of one that this release does not know."""
