"""The judgement on a drawn folder: equal to the reference, or refused with a sentence.

A folder that a worker refuses has to be one that `sie add` refuses, if it would add it as such.

A folder that the reference itself cannot load, or cannot answer with, says nothing. As a program
(`sie soak --layouts`) it draws fresh seeds for so many minutes, and ends at the first that fails.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sentence_transformers as st
import torch
import transformers as tf
from tests.support.called_layouts import draw_called
from tests.support.conformance import Answerer, Call, assert_as_reference
from tests.support.conformance import load as load_vectors
from tests.support.handwritten_layouts import draw_handwritten
from tests.support.judging import run_judge
from tests.support.odd_layouts import draw_odd
from tests.support.picture_models import (
    PictureAnswerer,
    load_towers,
    pictures,
    reference_vectors,
    upright,
)
from tests.support.random_layouts import Drawn, draw
from tests.support.rare_layouts import draw_rare
from tests.support.sameness import assert_same
from tests.support.scored import load, scored
from tests.support.scored import run as run_job

from sie_cli.models.proposal import propose
from sie_layouts.folder import FolderFiles
from sie_schemas.arrays import from_wire
from sie_schemas.documents import EncodeTask, Tasks
from sie_schemas.errors import FixRequest, OurFault
from sie_server.backends.backend import Backend
from sie_server.tolerances import FULL, disagreement

__all__ = ["Judgement", "excess", "judged", "require_vectors"]

Judgement = Literal["equal", "refused", "no reference"]

TEXTS = (
    "the cat sat on the mat",
    "A Long river bank: " + "one two three four five six seven eight nine ten " * 9,
    "[MASK] a <pad> dog [PAD] of\n</s> <mask> [Q] [SEP] red [UNK] <eos>",
    "Money!",
    "",
    "Ünïcödé, ﬁne \u200b \U0001f600 text <pad> [PAD]",
)
"""Short, above every limit, with special tokens inside and at the end, empty, other scripts."""
_FULL = {"dtype": torch.float32}


def judged(drawn: Drawn) -> Judgement:
    """The verdict. Raises `AssertionError` where an answer differs, or a refusal says nothing."""
    # Several threads on models this small wait for each other more than they compute.
    torch.set_num_threads(1)
    verdict = _judged(drawn)
    if verdict == "refused":
        _require_refused_when_added(drawn)
    return verdict


_ADDED_AS: Mapping[str, Any] = {
    "dense": {"encode": {"outputs": ["dense"]}},
    "sparse": {"encode": {"outputs": ["sparse"]}},
    "score": {"score": {}},
    "tokens": {"encode": {"outputs": ["multivector"]}, "score": {}},
    "images": {"encode": {"outputs": ["dense"]}},
}


def _require_refused_when_added(drawn: Drawn) -> None:
    found = propose(FolderFiles(drawn.folder), takes_pickles=False)
    # Of a folder that may be two things it may take the other one.
    if found.tasks == _ADDED_AS[drawn.kind]:
        assert found.refusals, "a worker refuses it, and it would be added"


def _judged(drawn: Drawn) -> Judgement:
    match drawn.kind:
        case "dense":
            return _vectors(drawn, st.SentenceTransformer, "dense")
        case "sparse":
            return _vectors(drawn, st.SparseEncoder, "sparse")
        case "score":
            return _scores(drawn)
        case "tokens":
            return _token_vectors(drawn)
        case "images":
            return _towers(drawn)


def _reference(drawn: Drawn, kind: Any, try_it: Any) -> Any:
    """The library's model; None where it cannot answer by itself."""
    try:
        model = kind(str(drawn.folder), device="cpu", model_kwargs=_FULL, local_files_only=True)
        _in_float32(model)
        try_it(model)
    except Exception:
        return None
    return model


def _in_float32(model: torch.nn.Module) -> None:
    """Layers in half precision are computed in float32, here as there.

    The few numbers that transformers keeps in another type, as an activation's, stay so.
    """
    own = [each for each in model.modules() if isinstance(each, tf.PreTrainedModel)]
    kept = {id(part) for one in own if one.dtype == torch.float32 for part in one.modules()}
    for part in model.modules():
        if id(part) not in kept:
            # Its own tensors alone: those of its parts come in their turn.
            part._apply(lambda one: one.float() if one.is_floating_point() else one, recurse=False)


def _both(load_it: Callable[[bool], Backend]) -> list[Backend]:
    """The model as its probe decides, and padded where that was packed; none where it is refused
    with a sentence."""
    try:
        chosen = load_it(False)
    except (OurFault, FixRequest) as refused:
        assert len(str(refused)) > 20, f"a refusal that says nothing: {refused}"
        return []
    packed = chosen.describe().execution == "packed"
    return [chosen, load_it(True)] if packed else [chosen]


def _vectors(drawn: Drawn, kind: Any, output: str) -> Judgement:
    reference = _reference(drawn, kind, lambda model: model.encode_document([TEXTS[0]]))
    ours = _both(lambda padded: load_vectors(drawn.folder, outputs=(output,), padded=padded))
    if reference is None:
        return "no reference"
    if not ours:
        return "refused"
    calls: dict[Call, Sequence[str]] = {
        call: _answered(getattr(reference, encode), convert_to_tensor=True)
        for call, encode in _CALLS.items()
    }
    told = reference.prompts or {}
    form = ours[0].describe().query_form
    side = "query" if form is not None and form.by_default else "document"
    if told.get(side) and not reference.default_prompt_name:
        del calls["encode"]  # a text of which nobody said what it is counts as one of these here
    answerers = [*map(Answerer, ours)]
    if not any(calls.values()):
        return "no reference"  # of no text it makes numbers
    for call, texts in calls.items():
        calls[call] = [text for text in texts if _takes(answerers[0], text, call)]
    # Some routers have no way for a text of which nobody said what it is.
    asked = {call: texts for call, texts in calls.items() if texts}
    for call, own in asked.items():
        require_vectors(reference, call, own, answerers)
    return "equal"


_ROUNDINGS = 2
"""Two orders of one sum round apart, by as much each. The farthest that was met was 1.03 times the
reference's own, a wrong vector is at a hundred."""


def require_vectors(
    reference: Any, call: Call, texts: Sequence[str], answerers: Sequence[Answerer]
) -> None:
    """The reference's vectors, or as near to those of float64 as it is itself.

    Raises `AssertionError` where one is farther.
    """
    try:
        assert_as_reference(reference, {call: texts}, *answerers)
    except AssertionError:
        _require_rounded_vectors(reference, call, texts, answerers)


def _require_rounded_vectors(
    reference: Any, call: Call, texts: Sequence[str], answerers: Sequence[Answerer]
) -> None:
    def theirs(part: Sequence[str]) -> torch.Tensor:
        return _plain(getattr(reference, _CALLS[call])([*part], convert_to_tensor=True))

    for answerer in answerers:
        alone = np.concatenate([answerer.vectors([text], call) for text in texts])
        for found in (alone, np.array(answerer.vectors(texts, call))):
            _require_rounded(torch.from_numpy(found), reference, theirs, texts)


def _require_rounded(
    found: torch.Tensor,
    reference: Any,
    theirs: Callable[[Sequence[Any]], torch.Tensor],
    given: Sequence[Any],
) -> None:
    """For what the plain bound does not take: no farther from float64 than the library may be,
    which is asked for each alone and for all together."""

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        return torch.cat([theirs([each]) for each in given]), theirs(given)

    own = both()
    kept = [each.dtype for each in (*reference.parameters(), *reference.buffers())]
    reference.double()
    try:
        exact = both()
    finally:
        every = (*reference.parameters(), *reference.buffers())
        for each, dtype in zip(every, kept, strict=True):
            each.data = each.to(dtype)
    # In some families the padding changes a text: only what float64 does otherwise is rounding.
    rounded = torch.stack([(one - other).abs() for one, other in zip(own, exact, strict=True)])
    # Scores are one row, as the plain bound has them.
    rows = [
        each if each.ndim > 1 else each[None] for each in (found, rounded.amax(dim=0), exact[0])
    ]
    reason = excess(*rows)
    assert not reason, reason


def _plain(answer: torch.Tensor) -> torch.Tensor:
    return (answer.to_dense() if answer.is_sparse else answer).double()


def excess(found: torch.Tensor, rounded: torch.Tensor, exact: torch.Tensor) -> str:
    """The reason why rows are farther from those of float64 than the plain bound, and than a small
    multiple of what the library `rounded`; empty where they are not."""
    if found.shape != exact.shape:
        return f"{tuple(found.shape)} for {tuple(exact.shape)}"
    away, theirs = (found.double() - exact).abs().amax(dim=1), rounded.amax(dim=1)
    rms = exact.square().mean(dim=1).sqrt()
    if (away <= torch.maximum(FULL.delta * rms, _ROUNDINGS * theirs)).all():
        return ""
    worst = (away / rms).nan_to_num(nan=math.inf).argmax()
    told = [f"{(each / rms)[worst].item():.2e}" for each in (away, theirs)]
    return f"{told[0]} rms from float64, the reference {told[1]}"


def _takes(answerer: Answerer, text: str, call: Call) -> bool:
    """False of a text that is refused by itself, and never answered by zeros or another cut."""
    try:
        answerer.vectors([text], call)
    except FixRequest as refused:
        assert any(words in str(refused) for words in _REFUSED_ALONE), refused
        return False
    return True


_REFUSED_ALONE = ("no token is left", "which takes none: the authors' library reads on")


_CALLS: Mapping[Call, str] = {
    "encode": "encode", "query": "encode_query", "document": "encode_document",
}  # fmt: skip


def _answered(encode: Any, **options: Any) -> list[str]:
    """The texts that the library answers: an empty one leaves some models without a token."""
    found = []
    for text in TEXTS:
        try:
            vector = torch.as_tensor(encode([text], **options)[0])
        except (RuntimeError, IndexError, ValueError, ZeroDivisionError):
            continue
        # Of no token at all, some poolings make what is no number.
        if (vector.to_dense() if vector.is_sparse else vector).isfinite().all():
            found.append(text)
    return found


_PAIRS = [(TEXTS[0], text) for text in TEXTS] + [(TEXTS[2], TEXTS[1]), (TEXTS[1], TEXTS[3])]


def _scores(drawn: Drawn) -> Judgement:
    reference = _reference(drawn, st.CrossEncoder, lambda model: model.predict(_PAIRS[:1]))
    label = 0 if reference is None or reference.num_labels == 1 else reference.num_labels - 1
    options: dict[str, Any] = {"label": label} if label else {}
    ours = _both(lambda padded: load(drawn.folder, padded=padded, **options))
    if reference is None:
        return "no reference"
    if not ours:
        return "refused"
    pairs = [pair for pair in _answered_pairs(reference) if _takes_pair(ours[0], pair)]
    found = np.concatenate([reference.predict([pair]) for pair in pairs])
    expected = found if found.ndim == 1 else found[:, label]
    for backend in ours:
        together = scored(backend, pairs)["score"]
        alone = np.concatenate([scored(backend, [pair])["score"] for pair in pairs])
        for own in (together, alone):
            try:
                assert_same(own, expected)
            except AssertionError:
                theirs = partial(_numbers, reference, label)
                _require_rounded(torch.from_numpy(own), reference, theirs, pairs)
    return "equal"


def _numbers(reference: Any, label: int, pairs: Sequence[tuple[str, str]]) -> torch.Tensor:
    found = reference.predict([*pairs], convert_to_tensor=True)
    return _plain(found if found.ndim == 1 else found[:, label])


def _takes_pair(backend: Backend, pair: tuple[str, str]) -> bool:
    """False of a pair that is refused by itself, which says nothing of its folder."""
    try:
        scored(backend, [pair])
    except FixRequest as refused:
        assert _REFUSED_ALONE[1] in str(refused), refused
        return False
    return True


def _answered_pairs(reference: Any) -> list[tuple[str, str]]:
    """The pairs that the library answers: it runs beyond a table of positions."""
    found = []
    for pair in _PAIRS:
        try:
            reference.predict([pair])
        except (RuntimeError, IndexError):
            continue
        found.append(pair)
    return found


_TASKS = Tasks(encode=EncodeTask(outputs=("multivector",)))


def _token_vectors(drawn: Drawn) -> Judgement:
    reference = _reference(drawn, st.MultiVectorEncoder, lambda one: one.encode_query([TEXTS[0]]))
    ours = _both(
        lambda padded: load(drawn.folder, backend="transformer", tasks=_TASKS, padded=padded)
    )
    if reference is None:
        return "no reference"
    if not ours:
        return "refused"
    for is_query in (True, False):
        encode = reference.encode_query if is_query else reference.encode_document
        texts = [text for text in _answered(encode) if _takes_late(ours[0], text, is_query)]
        expected = [torch.as_tensor(encode([text])[0]).float() for text in texts]
        for backend in ours:
            together = _rows(backend, texts, is_query)
            alone = [_rows(backend, [text], is_query)[0] for text in texts]
            for found in (together, alone):
                _require_rows(found, expected)
    return "equal"


def _rows(backend: Backend, texts: Sequence[str], is_query: bool) -> list[torch.Tensor]:
    answers = run_job(backend, "encode", texts, options={"is_query": is_query})
    return [torch.tensor(from_wire(one)["multivector"]["values"]).float() for one in answers]


def _takes_late(backend: Backend, text: str, is_query: bool) -> bool:
    """False of a text without a token, to whose fillers nothing is said."""
    try:
        _rows(backend, [text], is_query)
    except AssertionError as refused:
        assert _REFUSED_ALONE[0] in str(refused), refused
        return False
    return True


def _require_rows(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape, f"{tuple(ours.shape)} for {tuple(theirs.shape)}"
        if ours.numel():
            reason = disagreement(ours, theirs, torch.float32)
            assert not reason, reason


_IMAGES = ("wide", "L", "turned", "small", "RGBA")


def _towers(drawn: Drawn) -> Judgement:
    # Without `do_convert_rgb` the reference fails for an image that is not in colours.
    told = "".join(each.read_text() for each in drawn.folder.glob("*processor_config.json"))
    plain = '"do_convert_rgb": false' in told
    files = [pictures()[name] for name in (_IMAGES[:1] if plain else _IMAGES)]
    bare = not (drawn.folder / "modules.json").is_file()
    texts = [text for text in TEXTS if text]
    try:
        if bare:
            filled = "SiglipModel" in (drawn.folder / "config.json").read_text()
            of_texts, of_images = reference_vectors(drawn.folder, texts, files, max_length=filled)
        else:
            model = st.SentenceTransformer(str(drawn.folder), device="cpu", local_files_only=True)
            of_texts = np.concatenate([model.encode([text]) for text in texts])
            of_images = np.concatenate([model.encode([upright(file)]) for file in files])
    except Exception:
        of_texts = None
    try:
        answerer = PictureAnswerer(load_towers(drawn.folder))
    except (OurFault, FixRequest) as refused:
        assert len(str(refused)) > 20, f"a refusal that says nothing: {refused}"
        return "refused" if of_texts is not None else "no reference"
    if of_texts is None:
        return "no reference"
    assert_same(answerer.vectors(texts), of_texts)
    assert_same(answerer.of_images(files), of_images)
    return "equal"


_DRAWN = (draw, draw_odd, draw_rare, draw_handwritten, draw_called)


async def _judged_fresh(seed: int, folder: Path) -> Counter[str]:
    # As libraries save them, as people change or write them afterwards, and of rare kinds.
    try:
        drawn = _DRAWN[seed % len(_DRAWN)](seed, folder)
    except ValueError:
        return Counter(["not made"])  # choices that the library itself refuses together
    try:
        return Counter([judged(drawn)])
    except AssertionError as error:
        raise AssertionError(f"{error}\n{dict(drawn.choices)}") from error


if __name__ == "__main__":
    run_judge(__doc__ or "", _judged_fresh)
