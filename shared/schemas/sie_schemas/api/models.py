"""Models as a gateway tells of them: `/v1/models`, `/v1/configs/models` and a model's status.

*types.* A gateway makes them, the SDK gives them back, and the OpenAPI document shows them. What
only a loaded model knows is None until a worker has it loaded.
"""

from typing import Any, NotRequired, TypedDict

__all__ = [
    "ConfigDocument",
    "InfinityModel",
    "ModelCapabilities",
    "ModelDims",
    "ModelInfo",
    "ModelList",
    "ModelLoadError",
    "ModelStatus",
    "ModelTraffic",
    "ModelWithStatus",
    "NamedModel",
    "OpenAICapabilities",
    "OpenAICard",
    "OpenAIModel",
    "ProfileInfo",
    "RegistryPosition",
    "ServedRevision",
]


class ModelDims(TypedDict, total=False):
    """The widths of a model's outputs."""

    dense: int
    sparse: int
    multivector: int


class ModelLoadError(TypedDict):
    """The failure of a load that is not tried again by itself."""

    code: str
    message: str
    attempts: NotRequired[int]
    permanent: NotRequired[bool]


class ProfileInfo(TypedDict):
    """A profile of a model."""

    is_default: bool


class ModelCapabilities(TypedDict):
    """The abilities that a model has beside its outputs. Those of `OpenAICapabilities` are told
    where one model is asked for."""

    streaming: bool
    lora_adapters: list[str]
    completion_chat: NotRequired[bool]
    completion_fim: NotRequired[bool]
    function_calling: NotRequired[bool]
    fine_tuning: NotRequired[bool]


class ModelInfo(TypedDict):
    """A model or a variant of one, `id:profile`, with the state that the workers report."""

    name: str
    loaded: bool
    state: str
    last_error: ModelLoadError | None
    inputs: list[str]
    outputs: list[str]
    dims: ModelDims | None
    max_sequence_length: int | None
    operations: list[str]
    revision: str
    profiles: dict[str, ProfileInfo]
    capabilities: ModelCapabilities
    aliases: list[str]
    pool: str
    description: str


class OpenAICapabilities(TypedDict):
    """The abilities by Mistral's words. No model of this cluster has one of them."""

    completion_chat: bool
    completion_fim: bool
    function_calling: bool
    fine_tuning: bool


class OpenAICard(TypedDict):
    """The fields that every form of OpenAI's model has.

    `type` is Mistral's word for one that is as it was published.
    """

    id: str
    object: str
    created: int
    owned_by: str
    type: str


class OpenAIModel(OpenAICard):
    """A model in OpenAI's form, with what a client of Mistral reads."""

    capabilities: OpenAICapabilities


class InfinityModel(OpenAICard):
    """The same, with what a client of Infinity reads."""

    stats: dict[str, Any]
    backend: str
    capabilities: list[str]


class OllamaModel(TypedDict):
    """A model as Ollama's clients list it. What that API says of a file has no word here."""

    name: str
    model: str
    digest: str
    details: dict[str, str]


class NamedModel(ModelInfo, OpenAICard):
    """One model in both forms. `model_type` is Xinference's word for what it does, and
    `max_context_length` Mistral's for `max_sequence_length`."""

    model_type: str | None
    max_context_length: int | None


class ModelList(TypedDict):
    """Every model and every variant, in both forms."""

    object: str
    models: list[ModelInfo]
    data: list[OpenAIModel]


class ServedRevision(TypedDict):
    """The revision of a model that one worker serves. `effective`: it is what the log wants."""

    worker: str
    pool: str
    bundle: str
    epoch: int
    state: str
    revision: str | None
    reason: str
    effective: bool


class ModelStatus(TypedDict):
    """The revision of a model that each worker serves, against the one that the log wants."""

    model_id: str
    log_id: str
    epoch: int
    modified_epoch: int
    revisions: dict[str, str]
    workers: list[ServedRevision]
    effective: bool


class ModelTraffic(TypedDict):
    """Requests for a model at one gateway since its start.

    `by_status` counts them by their kind of status, `2xx` and the like. `answered_within_s` counts
    those that were answered, by bounds in seconds.
    """

    requests: int
    by_status: dict[str, int]
    answered_within_s: dict[str, int]


class ModelWithStatus(ModelStatus):
    """The status of a model, with its traffic; None where none was counted."""

    traffic: ModelTraffic | None


class ConfigDocument(TypedDict):
    """A document as the log has it, by its `model_id` or, of a bundle, its `name`."""

    model_id: NotRequired[str]
    name: NotRequired[str]
    modified_epoch: int
    document: Any
    source: str


class RegistryPosition(TypedDict):
    """The position of a gateway's registry in the log."""

    log_id: str
    epoch: int
    hash: str
    digest: str
    term: int
    source: str
