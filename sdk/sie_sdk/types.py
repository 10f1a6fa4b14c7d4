"""The types that go in and come out: items, and results as typed mappings with numpy arrays.

*types.* Every result carries `request`: which configuration, which revisions and which worker made
it. A list of results may hold one with an `error` in place of its content; it never has a gap.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Required, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from sie_schemas.items import Item, Media, OutputDtype, OutputType
from sie_sdk.cluster_types import (
    AssignedWorkerInfo,
    CapacityInfo,
    ClusterModelInfo,
    ClusterStatusMessage,
    ClusterSummary,
    HealthResponse,
    ModelCapabilities,
    ModelDims,
    ModelInfo,
    ModelLoadError,
    ModelSummary,
    PoolInfo,
    PoolListItem,
    PoolResponse,
    PoolSpec,
    PoolSpecResponse,
    PoolStatusInfo,
    ProfileInfo,
    StatusMessage,
    TroubleInfo,
    WorkerInfo,
)

__all__ = [
    "DEFAULT_OUTPUT_DTYPE",
    "AssignedWorkerInfo",
    "AudioInput",
    "CallOptions",
    "CapacityInfo",
    "Classification",
    "ClassificationResult",
    "ClusterModelInfo",
    "ClusterStatusMessage",
    "ClusterSummary",
    "DType",
    "DetectedObject",
    "DocumentInput",
    "EncodeOptions",
    "EncodeResult",
    "Entity",
    "EntityResult",
    "ExtractItemErrorDetail",
    "ExtractOptions",
    "ExtractResult",
    "HealthResponse",
    "ImageInput",
    "Item",
    "ItemError",
    "ItemLike",
    "Items",
    "Media",
    "MediaInput",
    "ModelCapabilities",
    "ModelDims",
    "ModelInfo",
    "ModelLoadError",
    "ModelState",
    "ModelSummary",
    "ObjectResult",
    "OutputDType",
    "OutputDtype",
    "OutputType",
    "PoolInfo",
    "PoolListItem",
    "PoolResponse",
    "PoolSpec",
    "PoolSpecResponse",
    "PoolStatusInfo",
    "ProfileInfo",
    "Relation",
    "RelationResult",
    "RequestInfo",
    "RequestMetadata",
    "RequestUsage",
    "ScoreEntry",
    "ScoreResult",
    "ScoreUsage",
    "SparseResult",
    "SparseVector",
    "StatusMessage",
    "Timing",
    "TimingInfo",
    "TroubleInfo",
    "Usage",
    "VideoInput",
    "WorkerInfo",
]

ItemLike: TypeAlias = Item | str | Mapping[str, object]
"""One item. A plain string is an item with that text, a mapping has an item's fields as keys."""
Items: TypeAlias = Iterable[ItemLike]
"""Several items. A string and a mapping are one, though Python iterates over both."""


class MediaInput(TypedDict, total=False):
    """An image, a sound, a video or a document in an item that is a mapping."""

    data: Required[bytes]
    format: str | None
    sample_rate: int


class CallOptions(TypedDict, total=False):
    """The options that every call takes: where to run, and how long to wait for capacity.

    `gpu` is a machine profile, or `pool/machine profile`. `wait_for_capacity` (the default) sends
    the request again while no worker is ready, for at most `provision_timeout_s` (900).
    `max_oom_retries` (3) are the tries where a device has no memory. `options` go to the backend;
    `{"lora": name}` applies an adapter.
    """

    gpu: str | None
    pool: str | None
    wait_for_capacity: bool | None
    provision_timeout_s: float | None
    max_oom_retries: int | None
    options: Mapping[str, Any] | None
    instruction: str | None


class EncodeOptions(CallOptions, total=False):
    """The options that `encode` takes besides. `show_progress` draws a bar, with tqdm."""

    show_progress: bool
    output_types: Sequence[OutputType] | None
    output_dtype: OutputDtype | None
    dimensions: int | None
    is_query: bool | None


class ExtractOptions(CallOptions, total=False):
    """The options that `extract` takes besides. Empty `labels` mean the model's own;
    `show_progress` draws a bar, with tqdm."""

    show_progress: bool
    labels: Sequence[str] | None
    output_schema: Mapping[str, Any] | None


class Timing(TypedDict, total=False):
    """Milliseconds: the whole request, the wait, the tokenization, the run on the device."""

    total_ms: float
    queue_ms: float
    tokenization_ms: float
    inference_ms: float


class Usage(TypedDict, total=False):
    """The cost of the request."""

    input_tokens: int


class RequestInfo(TypedDict):
    """The making of an answer. `epoch` is `<log>.<epoch>`; empty strings where nothing was said.
    `retries` counts how often the request was sent again."""

    id: str
    epoch: str
    model_revision: str
    adapter_revision: str
    worker: str
    timing: Timing
    usage: Usage
    retries: int


class ItemError(TypedDict):
    """The reason why one item of a list has no content."""

    code: str
    message: str


class SparseVector(TypedDict):
    """The non-zero places of a vector."""

    indices: NDArray[np.int32]
    values: NDArray[np.float32]


class EncodeResult(TypedDict, total=False):
    """One item's vectors. `dense` is 1-D float32, `multivector` 2-D.

    Those that were asked for are there, and none where `error` is. To a type checker all are: the
    caller knows what it asked for.
    """

    id: str
    dense: Required[NDArray[np.float32]]
    sparse: Required[SparseVector]
    multivector: Required[NDArray[np.float32]]
    error: ItemError
    model: Required[str]
    timing: Timing
    request: Required[RequestInfo]


class ScoreEntry(TypedDict):
    """One item's score; rank 0 is the best."""

    item_id: str
    score: float
    rank: int


class ScoreResult(TypedDict, total=False):
    """A ranking, best first."""

    model: Required[str]
    query_id: str | None
    scores: Required[list[ScoreEntry]]
    usage: Usage
    request: Required[RequestInfo]


class Entity(TypedDict, total=False):
    """A span of a text, or of an image. `start` and `end` count characters; `bbox` is left, top,
    right and bottom in pixels."""

    text: Required[str]
    label: Required[str]
    score: Required[float]
    start: Required[int]
    end: Required[int]
    bbox: list[float]


class Classification(TypedDict):
    """A class of an item."""

    label: str
    score: float


class Relation(TypedDict):
    """Two entities, and how one stands to the other."""

    head: str
    tail: str
    relation: str
    score: float


class DetectedObject(TypedDict):
    """A thing in an image; `bbox` is left, top, right and bottom in pixels."""

    label: str
    score: float
    bbox: list[float]


class ExtractResult(TypedDict, total=False):
    """The things that were found in one item: of the kinds that the model finds, and none where
    `error` is. To a type checker entities and classifications are always there."""

    id: str
    entities: Required[list[Entity]]
    relations: list[Relation]
    classifications: Required[list[Classification]]
    objects: list[DetectedObject]
    data: dict[str, Any]
    error: ItemError
    model: Required[str]
    request: Required[RequestInfo]


# The published client's names of the same.
SparseResult: TypeAlias = SparseVector
TimingInfo: TypeAlias = Timing
RequestMetadata: TypeAlias = RequestInfo
RequestUsage: TypeAlias = Usage
ScoreUsage: TypeAlias = Usage
ExtractItemErrorDetail: TypeAlias = ItemError
EntityResult: TypeAlias = Entity
ClassificationResult: TypeAlias = Classification
RelationResult: TypeAlias = Relation
ObjectResult: TypeAlias = DetectedObject
OutputDType: TypeAlias = OutputDtype
DType: TypeAlias = Literal["float32", "float16", "bfloat16", "int8", "uint8", "binary", "ubinary"]
ModelState: TypeAlias = Literal["available", "loading", "loaded", "unloading", "failed"]
DEFAULT_OUTPUT_DTYPE: Final[OutputDtype] = "float32"
ImageInput: TypeAlias = MediaInput
AudioInput: TypeAlias = MediaInput
VideoInput: TypeAlias = MediaInput
DocumentInput: TypeAlias = MediaInput
