"""The options, the fields and the inputs of every built-in backend, each declared once.

*pure.* Data that the gateway, sie-config and the workers read alike. `GENERAL` are the sidecar's
own, which every backend has; `of_backend` gives them with those of one backend. A backend of
another package declares its own at its loader (`sie_server.backends.backend.declares`), and is not
known here.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from sie_core.stored_documents import DocumentJson
from sie_schemas.documents import SYNONYMS
from sie_schemas.ipc import Option

__all__ = [
    "BACKEND_OPTIONS",
    "GENERAL",
    "inputs_of",
    "of_backend",
    "reads_beside",
    "takes_adapters",
    "unread_fields",
    "unread_of_profile",
    "without_adapters",
]

_TEMPLATE: Final = "a text that ends in {text}; {instruction} may stand before it"
_POOLINGS: Final = ("mean", "cls", "last", "max", "mean_sqrt_len")

_ACTIVATIONS: Final = ("none", "sigmoid", "softmax")
_THRESHOLD: Final = Option(
    name="threshold",
    kind="number",
    help="the least score that is told",
    least=0,
    most=1,
    in_profile=True,
    in_request=True,
    operations=("extract",),
)
_MULTI_LABEL: Final = Option(
    name="multi_label",
    kind="flag",
    help="true if several labels may hold",
    in_profile=True,
    in_request=True,
    operations=("extract",),
)
_OFFSET_UNIT: Final = Option(
    name="offset_unit",
    kind="text",
    help="what places in a text are counted in: characters, UTF-16 units, bytes of UTF-8",
    choices=("characters", "utf16", "bytes"),
    in_profile=True,
    in_request=True,
    operations=("extract",),
)
_NORMALIZE: Final = Option(
    name="normalize",
    kind="flag",
    help="true for dense vectors of length 1, false for those that the model gives",
    in_profile=True,
    in_request=True,
    operations=("encode",),
)

GENERAL: Final = (
    Option(name="lora", kind="text", help="the name of an adapter", in_request=True),
    Option(name="lora_id", kind="text", help="the same as lora", in_request=True),
    Option(
        name="is_query",
        kind="flag",
        help="true for a query, false for a document",
        in_request=True,
        operations=("encode",),
    ),
    Option(
        name="instruction",
        kind="text",
        help="what the texts are read for",
        in_request=True,
        operations=("encode",),
    ),
    Option(
        name="dimensions",
        kind="whole",
        help="numbers of a vector that are kept",
        least=1,
        most=65_536,
        in_request=True,
        operations=("encode",),
    ),
    Option(
        name="truncate",
        kind="text",
        help="where a text that is too long is cut; none refuses it",
        choices=("end", "start", "none"),
        in_request=True,
    ),
    *(
        Option(
            name=name,
            kind="text",
            help=_TEMPLATE,
            in_profile=True,
            in_request=True,
            operations=("encode",),
        )
        for name in ("query_template", "doc_template")
    ),
    Option(
        name="default_instruction",
        kind="text",
        help="the {instruction} of a request that has none",
        in_profile=True,
    ),
)

BACKEND_OPTIONS: Final[Mapping[str, tuple[Option, ...]]] = {
    "cross-encoder": (
        Option(name="activation", kind="text", choices=_ACTIVATIONS, in_profile=True),
        Option(name="label", kind="whole", least=0, in_profile=True),
        Option(
            name="pair_template",
            kind="text",
            help="of a decoder: bge-gemma, mxbai-v2, qwen3, zerank, or a text with {query} and "
            "{document}",
            in_profile=True,
        ),
        Option(name="yes_token", kind="text", help="of a decoder", in_profile=True),
        Option(name="no_token", kind="text", help="of a decoder", in_profile=True),
        Option(
            name="temperature",
            kind="number",
            help="of a decoder",
            least=1e-3,
            most=1e3,
            in_profile=True,
        ),
        Option(
            name="instruction",
            kind="text",
            help="put before the query, in place of the folder's prompt",
            in_request=True,
            operations=("score",),
        ),
    ),
    "echo": (
        Option(name="dims", kind="whole", least=1, most=65_536, in_profile=True),
        replace(_NORMALIZE, in_profile=False),
    ),
    "gliclass": (_MULTI_LABEL, _THRESHOLD),
    "gliner": (
        Option(
            name="flat_ner",
            kind="flag",
            help="true if entities may not overlap, false if one may lie in another",
            in_profile=True,
            in_request=True,
            operations=("extract",),
        ),
        _MULTI_LABEL,
        _OFFSET_UNIT,
        _THRESHOLD,
    ),
    "image-text": (_NORMALIZE,),
    "ocr": (_THRESHOLD,),
    "onnx-cross-encoder": (
        Option(name="file", kind="text", help="the graph's file", in_profile=True),
    ),
    "spacy": (_OFFSET_UNIT,),
    "text-classification": (
        Option(
            name="activation",
            kind="text",
            help="what makes scores of logits; default is what the config says",
            choices=("default", "softmax", "sigmoid", "none"),
            in_profile=True,
            in_request=True,
            operations=("extract",),
        ),
        _THRESHOLD,
    ),
    "token-classification": (
        Option(
            name="aggregation",
            kind="text",
            help="how tokens become entities",
            choices=("simple", "first", "max", "average"),
            in_profile=True,
            in_request=True,
            operations=("extract",),
        ),
        _OFFSET_UNIT,
        _THRESHOLD,
    ),
    "transformer": (
        Option(name="pooling", kind="text", choices=_POOLINGS, in_profile=True),
        _NORMALIZE,
        Option(
            name="query_prompt",
            kind="text",
            help="the folder's prompt that queries are given",
            in_profile=True,
        ),
        Option(
            name="document_prompt",
            kind="text",
            help="the folder's prompt that documents are given",
            in_profile=True,
        ),
        Option(
            name="task",
            kind="text",
            help="one of those that the model's weights can be changed for; empty for none",
            in_profile=True,
            in_request=True,
            operations=("encode",),
        ),
    ),
    "zero-shot-classification": (
        Option(
            name="hypothesis_template",
            kind="text",
            help="the sentence that each label makes, with {} in the label's place",
            in_profile=True,
            in_request=True,
            operations=("extract",),
        ),
        _MULTI_LABEL,
        _THRESHOLD,
    ),
}


_INPUTS: Final[Mapping[str, tuple[str, ...]]] = {
    "image-text": ("text", "image"),
    "ocr": ("image",),
}
"""The inputs of those that take more than texts, or others."""


_WITHOUT_ADAPTERS: Final = frozenset(
    {"echo", "gliclass", "gliner", "image-text", "ocr", "onnx-cross-encoder", "spacy"}
)
"""Those that run another library's model or graph, or none: no layer of it is adapted."""


_WORKS_IN_FP32: Final = frozenset({"echo", "ocr", "onnx-cross-encoder", "spacy"})
"""Those whose library or graph has its own type of numbers, whatever a profile says."""
_CUTS_NOTHING: Final = frozenset({"echo", "gliner", "ocr", "spacy"})
"""Those that read a text whole, or in windows of their model's own length."""
_READS_BESIDE: Final = frozenset({"gliner"})
"""Those whose folders name other repositories."""
_TAKES_NO_WORDS: Final = frozenset({"gliclass", "gliner", "ocr", "zero-shot-classification"})
"""Those with any labels, or one: each is taken as it stands."""


def unread_of_profile(backend: str, profile: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The name of each field of a profile that its built-in backend does not read, and why."""
    if profile.get("dtype", "auto") not in ("auto", "fp32") and backend in _WORKS_IN_FP32:
        yield "dtype", f"the backend {backend} works in fp32 alone: write auto, or leave it out"
    if profile.get("max_sequence_length") is not None and backend in _CUTS_NOTHING:
        yield "max_sequence_length", f"the backend {backend} cuts no text: leave it out"


def reads_beside(backend: str) -> bool:
    """True if a backend may read repositories beside its own; another package's may."""
    return backend in _READS_BESIDE or backend not in BACKEND_OPTIONS


def unread_fields(document: DocumentJson) -> Iterator[tuple[str, str]]:
    """The path of each field of a model's document that nothing would read, and why."""
    profiles = document["profiles"]
    for name, profile in profiles.items():
        for field, problem in unread_of_profile(profile["backend"], profile):
            yield f"profiles.{name}.{field}", problem
    backends = {profile["backend"] for profile in profiles.values()}
    if document["source"].get("beside") and not any(map(reads_beside, backends)):
        yield "source.beside", f"the backend {_listed(backends)} reads no other repository"
    extract = document["tasks"].get("extract") or {}
    given = {word: tuple(kinds) for word, kinds in (extract.get("synonyms") or {}).items()}
    if not given.items() <= SYNONYMS.items() and backends <= _TAKES_NO_WORDS:
        problem = "takes each label as it stands: leave them out"
        yield "tasks.extract.synonyms", f"the backend {_listed(backends)} {problem}"


def _listed(backends: Iterable[str]) -> str:
    return ", ".join(sorted(set(backends)))


def takes_adapters(name: str) -> bool | None:
    """True if a built-in backend applies LoRA adapters; None for another's."""
    return name not in _WITHOUT_ADAPTERS if name in BACKEND_OPTIONS else None


def without_adapters(backends: Iterable[str]) -> str:
    """The names of a model's backends where none of them applies adapters; else empty."""
    names = set(backends)
    return "" if any(takes_adapters(name) is not False for name in names) else _listed(names)


def inputs_of(name: str) -> tuple[str, ...] | None:
    """The inputs that a built-in backend takes; None for another's."""
    return _INPUTS.get(name, ("text",)) if name in BACKEND_OPTIONS else None


_ONLY_EXTRACT: Final = frozenset(
    {
        "gliclass", "gliner", "ocr", "spacy", "text-classification", "token-classification",
        "zero-shot-classification",
    }
)  # fmt: skip
_OF_WORDING: Final = frozenset({"query_template", "doc_template", "default_instruction"})
"""Nothing is put around a text of `extract`: in a profile they were taken, and read by nobody."""


def _general(name: str, own: tuple[Option, ...]) -> tuple[Option, ...]:
    left_out = {option.name for option in own} | (_OF_WORDING if name in _ONLY_EXTRACT else set())
    return tuple(each for each in GENERAL if each.name not in left_out)


_WITH_GENERAL: Final[Mapping[str, tuple[Option, ...]]] = {
    name: (*own, *_general(name, own)) for name, own in BACKEND_OPTIONS.items()
}


def of_backend(name: str) -> tuple[Option, ...] | None:
    """The options of a built-in backend and the general ones that it reads and does not declare
    itself; None for another's."""
    return _WITH_GENERAL.get(name)
