"""Documents: what an entry changes. A config is data, and can never run code.

*types.* Frozen, strict pydantic models; unknown keys are refused and every error of a document is
listed at once with its path. `admit_document` gives the mapping with its defaults written out,
which is what the log stores. A default changed in a later release never changes an older entry's
meaning.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from sie_schemas import canonical
from sie_schemas.errors import FixRequest

__all__ = [
    "DOCUMENT_TYPES",
    "SYNONYMS",
    "AdapterDocument",
    "BundleDocument",
    "Document",
    "EncodeTask",
    "ExtractTask",
    "HubSource",
    "ModelDocument",
    "PackageSource",
    "PathSource",
    "PoolDocument",
    "ProfileDocument",
    "ScoreTask",
    "Source",
    "Tasks",
    "admit_document",
]

_NAME: Final = r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?"
_MODEL_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_PATH_SEGMENT: Final = re.compile(r"[A-Za-z0-9._@+-]+")
_SECRET: Final = re.compile(r"secret:(?!.*-file$)[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")
"""A name becomes a variable, and `SIE_SECRET_X_FILE` is the file of `x`."""


def _model_id(value: str) -> str:
    if not _MODEL_ID.fullmatch(value) or ".." in value:
        raise ValueError(
            "a model id is `name` or `org/name` of ASCII letters, digits, dot, dash and "
            "underscore, without `..`; each part begins with a letter or digit, and has at most "
            "96 characters"
        )
    return value


def _model_spec(value: str) -> str:
    model_id, separator, profile = value.partition(":")
    if separator and not re.fullmatch(_NAME, profile):
        raise ValueError("a model is named by `id` or `id:profile`")
    _model_id(model_id)
    return value


def _commit(value: str) -> str:
    if not _COMMIT.fullmatch(value):
        raise ValueError(
            "a full commit hash (40 hex digits) is wanted, for a branch or a tag moves; "
            "`sie add` finds it"
        )
    return value


def _secret(value: str) -> str:
    if not _SECRET.fullmatch(value):
        raise ValueError(
            "a reference is wanted, never the secret itself: `secret:NAME`, of small letters, "
            "digits and dashes, and not ending in -file"
        )
    return value


def _inside_path(value: str) -> str:
    segments = value.split("/")
    if not all(_PATH_SEGMENT.fullmatch(part) and part not in {".", ".."} for part in segments):
        raise ValueError("a relative path of plain segments is wanted, without `.` or `..`")
    return value


def _absolute_path(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/") or "\0" in value:
        raise ValueError("an absolute path without `..` is wanted")
    return value


Name: TypeAlias = Annotated[str, StringConstraints(pattern=rf"^{_NAME}$")]
ModelSpec: TypeAlias = Annotated[str, AfterValidator(_model_spec)]
ModelId: TypeAlias = Annotated[str, AfterValidator(_model_id)]
InsidePath: TypeAlias = Annotated[str, AfterValidator(_inside_path)]
AbsolutePath: TypeAlias = Annotated[str, AfterValidator(_absolute_path)]
Commit: TypeAlias = Annotated[
    str,
    AfterValidator(_commit),
    WithJsonSchema({"type": "string", "pattern": f"^{_COMMIT.pattern}$"}),
]
SecretReference: TypeAlias = Annotated[
    str,
    AfterValidator(_secret),
    WithJsonSchema({"type": "string", "pattern": f"^{_SECRET.pattern}$"}),
]
Sha256: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Manifest: TypeAlias = Annotated[dict[InsidePath, Sha256], Field(min_length=1, max_length=1000)]
Label: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=128)]
OptionValue: TypeAlias = bool | int | float | Annotated[str, StringConstraints(max_length=4096)]


class Document(BaseModel):
    """The root of every document: frozen, strict, closed."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class HubSource(Document):
    """Weights on a hub, pinned to a commit."""

    type: Literal["hub"]
    id: ModelId
    revision: Commit
    beside: Annotated[dict[ModelId, Commit], Field(min_length=1, max_length=4)] | None = None
    """Other repositories, each at its commit, whose tokenizer or config the model names: their
    weights are not fetched."""
    token: SecretReference | None = None
    """The token that it is fetched with: the name of a secret of the workers."""


class PathSource(Document):
    """Weights in a folder of the workers, pinned by the hash of each file that is used."""

    type: Literal["path"]
    path: AbsolutePath
    manifest: Manifest


class PackageSource(Document):
    """Weights inside an installed Python package, pinned by its version (and file hashes)."""

    type: Literal["package"]
    package: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    distribution: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    version: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+!-]*$")]
    path: InsidePath | None = None
    manifest: Manifest | None = None


Source: TypeAlias = Annotated[HubSource | PathSource | PackageSource, Field(discriminator="type")]


class EncodeTask(Document):
    """The outputs of `encode`."""

    outputs: tuple[Literal["dense", "sparse", "multivector"], ...] = ("dense",)


class ScoreTask(Document):
    """`score` gives one number for each pair of query and item."""


class ExtractTask(Document):
    """The outputs of `extract`; `labels` empty means the backend's own."""

    labels: tuple[Label, ...] = ()
    synonyms: Annotated[dict[Label, tuple[Label, ...]], Field(max_length=1000)] | None = None
    """Words for labels that a request may use, in any case, where the model's labels are fixed.
    Each means those of its labels that the model has. A document that is written without them gets
    `SYNONYMS`; one of an older release has none."""


SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "person": ("PERSON", "PER"),
    "organization": ("ORGANIZATION", "ORG"),
    "organisation": ("ORGANIZATION", "ORG"),
    "location": ("LOCATION", "LOC", "GPE"),
    "facility": ("FACILITY", "FAC"),
    "nationality": ("NORP",),
    "percentage": ("PERCENT",),
    "miscellaneous": ("MISC",),
}
"""The words of published clients, and the labels of the widespread schemes that they mean."""


class Tasks(Document):
    """The operations that a model can do."""

    encode: EncodeTask | None = None
    score: ScoreTask | None = None
    extract: ExtractTask | None = None

    @model_validator(mode="after")
    def _at_least_one(self) -> "Tasks":
        if self.encode is None and self.score is None and self.extract is None:
            raise ValueError("at least one of encode, score and extract is wanted")
        return self


class ProfileDocument(Document):
    """A named way to run a model."""

    backend: Name
    """The registered name of the code that runs it; never an import path."""
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """The type that it computes in. `auto`: bf16 on a GPU that multiplies it, for families that
    keep their vectors; else fp32. Documents of older releases state theirs."""
    batch_cost_max: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Budget of one batch, in the backend's cost unit: tokens where it takes token ids."""
    batch_items_max: Annotated[int, Field(ge=1, le=4096)] = 256
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 5.0
    """A lane's wait to fill while other work runs, at first: `batch_latency_ms`, or the worker's
    default for it, moves this wait. An idle device never waits."""
    batch_latency_ms: Annotated[float, Field(gt=0, le=60_000)] | None = None
    """The time to aim at, from an input's arrival at the worker to its answer. While answers take
    longer, lanes wait half as long to fill; while they are in time, a little longer."""
    batch_invariant: bool = True
    """False where batch-mates change an answer (dynamically quantised graphs): one item a call."""
    max_sequence_length: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Tokens after which a text is cut; the model's own limit if absent."""
    options: dict[Name, OptionValue] = Field(default_factory=dict, max_length=64)
    """Settings of the backend, checked by it when the model loads."""


class ModelDocument(Document):
    """A model: where its weights come from, what it can do, and the ways to run it."""

    model_id: ModelId
    source: Source
    tasks: Tasks
    profiles: Annotated[dict[Name, ProfileDocument], Field(min_length=1, max_length=64)]
    aliases: tuple[ModelId, ...] = ()
    pool: Name = "default"
    description: Annotated[str, StringConstraints(max_length=2000)] = ""

    @model_validator(mode="after")
    def _has_default_profile(self) -> "ModelDocument":
        if "default" not in self.profiles:
            raise ValueError("a profile named `default` is wanted: it serves the bare model id")
        return self


class AdapterDocument(Document):
    """A LoRA adapter of one model, applied by name with `options={"lora": name}`."""

    model_id: ModelId
    name: Name
    source: Source
    description: Annotated[str, StringConstraints(max_length=2000)] = ""


class BundleDocument(Document):
    """The set of backends that one worker image can run. The lowest priority wins."""

    name: Name
    backends: Annotated[tuple[Name, ...], Field(min_length=1)]
    priority: Annotated[int, Field(ge=0, le=1000)] = 10
    description: Annotated[str, StringConstraints(max_length=2000)] = ""


class PoolDocument(Document):
    """Capacity that is isolated: a request for one pool never runs in another."""

    name: Name
    machine_profiles: Annotated[tuple[Name, ...], Field(min_length=1)] = ("cpu",)
    """Kinds of hardware, the preferred first."""
    workers_min: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Workers that are kept although nothing is asked for."""
    workers_max: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """The most workers there will be, over all machine profiles; absent sets no bound."""
    pinned_models: tuple[ModelSpec, ...] = ()
    """Models that its workers load before they are asked for, and that no other model makes leave:
    `id` or `id:profile`."""
    description: Annotated[str, StringConstraints(max_length=2000)] = ""

    @model_validator(mode="after")
    def _has_room(self) -> "PoolDocument":
        if self.workers_max is not None and self.workers_max < self.workers_min:
            raise ValueError("workers_max is at least workers_min")
        return self


DOCUMENT_TYPES: Final[dict[str, type[Document]]] = {
    "model": ModelDocument,
    "adapter": AdapterDocument,
    "bundle": BundleDocument,
    "pool": PoolDocument,
}


_SHOWN_MAX: Final = 40
"""Names are short: the cost of a comparison grows with the product of lengths."""
_ADVISED_MAX: Final = 20
"""Each costs some hundred microseconds of the writer's loop, and nobody reads more."""


def admit_document(kind: str, value: object) -> dict[str, Any]:
    """Check a document (plain JSON) and give it back with its defaults materialised.

    Absent optional fields stay absent (absent is not null). Raises `FixRequest` with code
    `VALIDATION_ERROR`, whose `details` list every error as `{path, message}`.
    """
    if not isinstance(value, Mapping):
        raise FixRequest(
            f"a {kind} document is a JSON object, not {type(value).__name__}",
            code="VALIDATION_ERROR",
            details=[{"path": "", "message": "an object is wanted"}],
        )
    try:
        # Through JSON: strict mode takes a JSON array, and no Python list, for a tuple.
        document = DOCUMENT_TYPES[kind].model_validate_json(canonical.dumps(dict(value)))
    except ValidationError as error:
        problems = [
            {
                "path": ".".join(str(part) for part in item["loc"]),
                "message": _no_such_field(DOCUMENT_TYPES[kind], item["loc"])
                if item["type"] == "extra_forbidden" and number < _ADVISED_MAX
                else item["msg"].removeprefix("Value error, "),
            }
            for number, item in enumerate(
                error.errors(include_url=False, include_context=False, include_input=False)
            )
        ]
        first = problems[0]
        raise FixRequest(
            f"the {kind} document is not valid: {first['path'] or 'document'}: {first['message']}"
            + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""),
            code="VALIDATION_ERROR",
            field=first["path"] or None,
            details=problems,
        ) from error
    admitted = document.model_dump(mode="json", exclude_none=True)
    if isinstance(document, ModelDocument):
        extract = admitted["tasks"].get("extract")
        if extract is not None:
            # Written into the document: a later release may know more words, and changes no answer
            # by it.
            extract.setdefault("synonyms", {word: [*kinds] for word, kinds in SYNONYMS.items()})
    return admitted


def _no_such_field(document: type[BaseModel], place: Sequence[int | str]) -> str:
    """A message for the unknown field at a place, as pydantic names it, of a type of document."""
    owners: list[Any] = [document]
    for step in place[:-1]:
        # The tag of a union is a step too, and leads nowhere else.
        owners = [each for owner in owners for each in _models_at(owner, step)] or owners
    fields = sorted({name for owner in owners for name in owner.model_fields})
    near = difflib.get_close_matches(str(place[-1])[:_SHOWN_MAX], fields, n=1)
    meant = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(fields)}"
    return f"there is no such field; {meant}"


def _models_at(owner: type[BaseModel], step: int | str) -> Iterator[type[BaseModel]]:
    field = owner.model_fields.get(str(step))
    if field is not None:
        yield from _models(field.annotation)


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    """The models in a type, also as alternatives and in annotations. Values of tables too: their
    keys are steps that lead nowhere else."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        return
    inside = get_args(kind)[:1] if get_origin(kind) is Annotated else get_args(kind)
    for each in inside:
        yield from _models(each)
