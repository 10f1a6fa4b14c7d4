"""Laws of reading: what a worker makes of texts and pairs is what a naive reading makes of them."""

import contextlib
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.support.small_jobs import small_job
from tokenizers import AddedToken, models, pre_tokenizers, processors

from sie_core.pair_templates import PAIR_TEMPLATES, pair_template
from sie_schemas.errors import FixRequest
from sie_schemas.ipc import (
    LateInput,
    Loaded,
    PairForm,
    PairInput,
    PairPart,
    QueryForm,
    TaskForm,
    TextForm,
    TextInput,
    TokensInput,
)
from sie_schemas.items import Item
from sie_schemas.jobs import AdapterPin, Job
from sie_worker.forms.pairing import Pairing
from sie_worker.forms.tokenizing import Tokenizer, prepare

MANY = settings(max_examples=80, deadline=None)
"""A tokenizer is read in each."""
CLS, SEP, FILLER = 0, 1, 2
WORDS = ["ask", "say", "note", "red", "blue", "green", "cat", "dog"]
IDS = {word: place + 3 for place, word in enumerate(WORDS)}


def _file() -> bytes:
    """A tokenizer of whole words, so that what it should say can be counted by hand."""
    special = ["[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: place for place, word in enumerate([*special, *WORDS, "[UNK]"])}
    made = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens([AddedToken(word, special=True) for word in special])
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    # Whoever saved it may have cut and filled with it.
    made.enable_truncation(max_length=4)
    made.enable_padding(length=9)
    return made.to_str().encode()


FILE = _file()
HASH = hashlib.sha256(FILE).hexdigest()
_folder = tempfile.TemporaryDirectory()
PATH = Path(_folder.name) / "tokenizer.json"
PATH.write_bytes(FILE)

LENGTHS = st.sampled_from([0, 5, 6, 8])
SIDES = st.sampled_from(["left", "right"])
CUTS: dict[str, Any] = {
    "max_sequence_length": LENGTHS,
    "truncation_side": SIDES,
    "skips_prompts": st.booleans(),
    "special_tokens": st.booleans(),
}
QUERY_FORMS = st.builds(
    QueryForm,
    tokenizer_path=st.just(str(PATH)),
    tokenizer_sha256=st.just(HASH),
    by_default=st.booleans(),
    **CUTS,
)
TEXT_FORMS = st.builds(
    lambda tokens_max, fills, attended: TextForm(
        tokens_max, tokens_max if fills else 0, FILLER, attended
    ),
    st.sampled_from([0, 4, 5, 7]),
    st.booleans(),
    st.booleans(),
)
"""One that fills up fills as far as it reads."""
PROMPTS = st.dictionaries(
    st.sampled_from(["query", "document", ""]), st.sampled_from(["ask ", "say note ", ""])
)
TASKS = TaskForm(
    words={"match": "note ", "passage": "say "}, sides={"document": "passage", "query": "match"}
)
MODELS = st.builds(
    Loaded,
    id=st.just(1),
    revision=st.just("rev"),
    accepts=st.just("tokens"),
    tokenizer_path=st.just(str(PATH)),
    tokenizer_sha256=st.just(HASH),
    prompts=PROMPTS,
    instruction=st.sampled_from(["", "ask "]),
    query_form=st.none() | QUERY_FORMS,
    tasks=st.none() | st.just(TASKS),
    **CUTS,
)
SIDED = st.builds(
    lambda model, length, query, document: replace(
        model, max_sequence_length=length, texts={"query": query, "document": document}
    ),
    MODELS,
    st.sampled_from([0, 8]),
    TEXT_FORMS,
    TEXT_FORMS,
)
EITHER = pytest.mark.parametrize("models_of", [MODELS, SIDED], ids=["of texts", "of sides"])
TEXTS = st.just("") | st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)
OPTIONS = st.fixed_dictionaries(
    {}, optional={"is_query": st.booleans(), "truncate": st.just("none")}
)
JOBS = st.builds(
    lambda texts, query, instruction, options, task, adapter: (
        texts, query, instruction, options | ({"task": task} if task else {}), adapter
    ),
    st.lists(st.none() | TEXTS, min_size=1, max_size=3),
    TEXTS,
    st.none() | st.sampled_from(["note ", ""]),
    OPTIONS,
    st.none() | st.just("match"),
    st.none() | st.just(AdapterPin("own", "r")),
)  # fmt: skip


def job_of(operation: Any, drawn: Any, *, as_ids: bool) -> Job:
    texts, query, instruction, options, adapter = drawn
    items = [
        Item(token_ids=(CLS, *(IDS[word] for word in text.split()), SEP))
        if as_ids and text and place % 2
        else Item(text=text)
        for place, text in enumerate(texts)
    ]
    return small_job(
        operation=operation,
        items=tuple(items),
        query=Item(text=query) if operation == "score" else None,
        instruction=instruction,
        options=options,
        adapter=adapter,
    )


class TooLong(Exception):
    """Nothing may be cut of it."""


def ids_of(
    text: str, form: Any, tokens_max: int, side: str, *, may_be_cut: bool = True
) -> list[int]:
    """The ids of a text's words, cut so that the special ones around them have their place."""
    words = [IDS[word] for word in text.split()]
    around = 2 if form.special_tokens else 0
    if 0 < tokens_max < len(words) + around:
        if not may_be_cut:
            raise TooLong
        room = tokens_max - around
        words = words[-room:] if side == "left" else words[:room]
    return [CLS, *words, SEP] if around else words


def side_of(job: Job, model: Loaded) -> str:
    by_default = model.query_form is not None and model.query_form.by_default
    return "query" if job.options.get("is_query", by_default) else "document"


def task_of(job: Job, model: Loaded) -> str:
    if model.tasks is None or job.operation != "encode":
        return ""
    usual = "" if job.adapter else model.tasks.sides[side_of(job, model)]
    return str(job.options.get("task", usual))


def before(job: Job, model: Loaded) -> str:
    """The words before a text of an encode."""
    if job.instruction is not None:
        return job.instruction
    if model.tasks is not None:
        return model.tasks.words.get(task_of(job, model), "")
    if "is_query" not in job.options and "" in model.prompts:
        return model.prompts[""]
    return model.prompts.get(side_of(job, model), "")


def of_side(text: str, name: str, model: Loaded, *, may_be_cut: bool) -> TokensInput:
    form = model.texts[name]
    limits = [each for each in (form.tokens_max, model.max_sequence_length) if each]
    read = min(limits, default=0)
    ids = ids_of(text, model, read, model.truncation_side, may_be_cut=may_be_cut)
    filled_to = form.filled_to if ids or form.attended else 0
    filled = ids + [FILLER] * (filled_to - len(ids))
    sees = len(ids) if len(filled) > len(ids) and not form.attended else 0
    return TokensInput(packed(filled), attended=sees, query=name == "query")


def _read_alone(job: Job, model: Loaded, text: str, prefix: str, side: str) -> TokensInput:
    may_be_cut = "truncate" not in job.options
    if model.texts:
        return of_side(text, side, model, may_be_cut=may_be_cut)
    form = model.query_form if side == "query" and model.query_form else model
    length, cut = form.max_sequence_length, form.truncation_side
    ids = ids_of(text, form, length, cut, may_be_cut=may_be_cut)
    words = len(ids_of(prefix, form, length, cut))
    skip = words - form.special_tokens if prefix and form.skips_prompts else 0
    is_query = form is not model
    return TokensInput(packed(ids), skip=skip, query=is_query, task=task_of(job, model))


def packed(ids: list[int]) -> bytes:
    return np.array(ids, "<i4").tobytes()


@EITHER
@given(data=st.data(), drawn=JOBS, as_ids=st.booleans())
@MANY
def test_a_text_is_read_in_the_words_of_its_side_task_and_request(models_of, data, drawn, as_ids):
    model = data.draw(models_of)
    job = job_of("encode", drawn, as_ids=as_ids)
    assume(job.adapter is None or "task" not in job.options)
    if "task" in job.options and model.tasks is None:
        with pytest.raises(FixRequest, match="no tasks"):
            prepare(job, model, Tokenizer.read(model))
        return
    prefix, side = before(job, model), side_of(job, model)
    wanted: dict[int, TokensInput] = {}
    for place, text in enumerate(drawn[0]):
        if text is not None:
            with contextlib.suppress(TooLong):
                made = _read_alone(job, model, prefix + text, prefix, side)
                wanted |= {place: made} if made.ids else {}
    found = prepare(job, model, Tokenizer.read(model))
    assert {place: item for place, item, _ in found.inputs} == wanted
    failed = {each.index: each.message for each in found.failures}
    assert failed.keys() == set(range(len(drawn[0]))) - wanted.keys()
    assert all(("no text" in told) is (drawn[0][place] is None) for place, told in failed.items())
    assert found.tokens == sum(len(each.ids) // 4 for each in wanted.values())


@given(
    drawn=MODELS,
    words=st.lists(st.sampled_from(WORDS), min_size=6, max_size=12),
    is_query=st.booleans(),
    form=QUERY_FORMS,
)
@MANY
def test_token_ids_are_read_as_the_text_that_they_stand_for(drawn, words, is_query, form):
    # A query's own length may be more than that of other texts.
    model = replace(drawn, query_form=form, instruction="", prompts={})
    tokenizer = Tokenizer.read(model)
    ids = Item(token_ids=tuple(IDS[word] for word in words))
    by_text, by_ids = (
        prepare(
            small_job(operation="encode", items=(item,), options={"is_query": is_query}),
            model,
            tokenizer,
        )
        for item in (Item(text=" ".join(words)), ids)
    )
    assert by_ids.inputs == by_text.inputs
    assert by_ids.failures == by_text.failures


@EITHER
@given(
    data=st.data(),
    drawn=JOBS,
    as_ids=st.booleans(),
    tokenizes=st.booleans(),
    templates=st.fixed_dictionaries(
        {}, optional={"query": st.just("red {text}"), "document": st.just("blue {text}")}
    ),
)
@MANY
def test_a_pair_has_the_words_of_its_query_and_of_its_document(
    models_of, data, drawn, as_ids, tokenizes, templates
):
    model = replace(data.draw(models_of), templates=templates)
    # Where a pair is cut is the library's to choose, and the length is not reached here.
    model = model if model.texts else replace(model, max_sequence_length=40)
    texts, query, instruction, _, adapter = drawn
    assume(instruction is None or "query" not in templates)
    drawn = texts, query, instruction, {"is_query": True}, adapter
    job = job_of("score", drawn, as_ids=as_ids and tokenizes)
    own = model.prompts.get("query", "") if model.texts else model.instruction
    asked = (own if instruction is None else instruction) + query
    of_document = model.prompts.get("document", "") if model.texts else ""
    asked = f"red {query}" if "query" in templates else asked
    of_document = "blue " if "document" in templates else of_document
    wanted: dict[int, Any] = {}
    for place, text in enumerate(texts):
        if text is None:
            continue
        if not tokenizes:
            wanted[place] = PairInput(asked, of_document + text)
        elif model.texts:
            sides = [
                of_side(said, name, model, may_be_cut=True)
                for said, name in ((asked, "query"), (of_document + text, "document"))
            ]
            if all(each.ids for each in sides):
                wanted[place] = LateInput(*sides)
        else:
            one, two = (
                [IDS[word] for word in part.split()] for part in (asked, of_document + text)
            )
            ids = [CLS, *one, SEP, *two, SEP] if model.special_tokens else one + two
            second = len(two) + model.special_tokens
            types = [0] * (len(ids) - second) + [1] * second
            if ids:
                wanted[place] = TokensInput(packed(ids), packed(types))
    try:
        found = prepare(job, model, Tokenizer.read(model) if tokenizes else None)
    except FixRequest as error:
        assert (
            "empty" in error.message
            and model.texts
            and not of_side(asked, "query", model, may_be_cut=True).ids
        )
        return
    assert {place: item for place, item, _ in found.inputs} == wanted
    assert {each.index for each in found.failures} == set(range(len(texts))) - wanted.keys()


@given(model=MODELS, drawn=JOBS)
@MANY
def test_a_backend_that_tokenizes_is_given_the_very_words(model, drawn):
    job = job_of("encode", drawn, as_ids=False)
    assume(not job.options.keys() & {"task", "truncate"})
    found = prepare(job, replace(model, accepts="text"), None)
    prefix = before(job, model)
    assert {place: item for place, item, _ in found.inputs} == {
        place: TextInput(prefix + text) for place, text in enumerate(drawn[0]) if text is not None
    }


SHORT = "0123456789"
SHARED = pair_template("{instruction}|{query}|{document}|end").form
FORMS = st.sampled_from(
    [
        *(each.form for each in PAIR_TEMPLATES.values()),
        SHARED,
        replace(SHARED, restores_suffix=True, trims=True),
        replace(SHARED, restores_suffix=True, cuts_start=True),
        PairForm(
            parts=(PairPart("{instruction}|{query}|{document}|end"),),
            bare=(PairPart("{query}|{document}|end"),),
            bounded=(0, 1),
            cut=0,
            trims_bare=True,
        ),
        PairForm(
            parts=(PairPart("{instruction}|{query}|{document}|end"),),
            bare=(PairPart("{query}|{document}|end"),),
            bounded=(0, 1),
            cut=0,
            trims=True,
        ),
        PairForm(
            parts=(
                PairPart("<"),
                PairPart("q:{query}", share=0.5),
                PairPart("d:{document}{query}"),
            ),
            bounded=(1, 3),
            cut=2,
        ),
    ]
)


def letters(text: str) -> list[int]:
    return [ord(each) for each in text]


# Rare in the draws: a bare form trims by itself, and a pair that was cut ends as all do.
@example(
    form=PairForm(
        parts=(PairPart("{instruction}|{query}|{document}|end"),),
        bare=(PairPart("{query}|{document}|end"),),
        bounded=(0, 1),
        cut=0,
        trims_bare=True,
    ),
    query=" 1 ",
    document=" a ",
    instruction=None,
    spare=60,
)
@example(
    form=PairForm(
        parts=(PairPart("{instruction}|{query}|{document}|end"),),
        bounded=(0, 1),
        cut=0,
        restores_suffix=True,
    ),
    query="1",
    document="abcdef" * 5,
    instruction="Find it",
    spare=20,
)
@given(
    form=FORMS,
    query=st.text(SHORT + " ", max_size=12),
    document=st.text("abcdef ", max_size=30),
    instruction=st.sampled_from([None, "", "Find it"]),
    spare=st.integers(0, 60),
)
@MANY
def test_of_a_pair_that_is_too_long_only_the_part_is_cut_that_may_be(
    form, query, document, instruction, spare
):
    told = form.instruction if instruction is None else instruction
    is_bare = bool(form.bare) and not told
    parts = form.bare if is_bare else form.parts
    if told and "{instruction}" not in "".join(part.template for part in parts):
        with pytest.raises(FixRequest):
            Pairing(letters, form, instruction, 10)
        return
    texts = (query, document)
    own = form.trims_bare if is_bare else None
    if form.trims if own is None else own:
        texts = (query.strip(), document.strip())
    values = {"query": texts[0], "document": texts[1], "instruction": told}
    pieces = [part.template.format(**values) for part in parts]
    first, last = form.bounded
    frame = len("".join(pieces[:first] + pieces[last:]))
    tokens_max = frame + spare
    pairing = Pairing(letters, form, instruction, tokens_max)
    assert pairing.whole(query, document) == letters("".join(pieces))
    for place, part in enumerate(parts):
        if part.share:
            pieces[place] = pieces[place][: int(spare * part.share)]
    over = max(0, len("".join(pieces[first:last])) - spare)
    kept = max(0, len(pieces[form.cut]) - over)
    cut = pieces[form.cut]
    pieces[form.cut] = cut[len(cut) - kept :] if form.cuts_start else cut[:kept]
    wanted = "".join(pieces)
    if form.restores_suffix and len(wanted) >= tokens_max:
        # What every pair ends in is there also where the end of this one was cut.
        ending = "|end"[-len(wanted) :]
        wanted = wanted[: len(wanted) - len(ending)] + ending
    assert pairing.ids(query, document) == letters(wanted)


@given(
    query=TEXTS.filter(bool),
    texts=st.lists(TEXTS, min_size=1, max_size=4),
    instruction=st.none() | st.just("note say"),
    share=st.sampled_from([0.0, 0.25]),
    none=st.booleans(),
)
@MANY
def test_of_a_pair_in_a_template_nothing_is_lost_where_nothing_may_be(
    query, texts, instruction, share, none
):
    parts = (
        PairPart("ask {instruction} {query}", share=share),
        PairPart(" say {document}"),
        PairPart("green"),
    )
    form = PairForm(parts=parts, bounded=(0, 2), cut=1)
    model = Loaded(
        id=1,
        revision="rev",
        accepts="tokens",
        tokenizer_path=str(PATH),
        tokenizer_sha256=HASH,
        max_sequence_length=9,
        pair=form,
    )
    job = small_job(
        operation="score",
        items=tuple(Item(text=text) for text in texts),
        query=Item(text=query),
        instruction=instruction,
        options={"truncate": "none"} if none else {},
    )
    pairing = Pairing(lambda text: [IDS[word] for word in text.split()], form, instruction, 9)
    found = prepare(job, model, Tokenizer.read(model))
    wanted = {
        place: TokensInput(packed(ids))
        for place, text in enumerate(texts)
        # What stands around may leave no room at all.
        if len(ids := pairing.ids(query, text)) <= 9
        and (not none or ids == pairing.whole(query, text))
    }
    assert {place: item for place, item, _ in found.inputs} == wanted
    failed = {each.index: each.code for each in found.failures}
    assert failed == {place: "INPUT_TOO_LONG" for place in range(len(texts)) if place not in wanted}


@given(
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=12),
    side=SIDES,
    special=st.booleans(),
)
@MANY
def test_token_ids_are_cut_where_their_text_would_be(words, side, special):
    model = Loaded(
        id=1,
        revision="rev",
        accepts="tokens",
        tokenizer_path=str(PATH),
        tokenizer_sha256=HASH,
        max_sequence_length=5,
        truncation_side=side,
        special_tokens=special,
    )
    items = (Item(token_ids=tuple(IDS[word] for word in words)), Item(text=" ".join(words)))
    [(_, one, _), (_, other, _)] = prepare(
        small_job(items=items), model, Tokenizer.read(model)
    ).inputs
    assert one == other
