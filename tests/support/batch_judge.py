"""The judgement on batches of any shape: beside whatever mates, each text is answered as alone.

A seed draws a model folder, adapters, jobs and their texts: empty ones, equal ones, one long among
many short, lengths about the model's limit and about powers of two. Jobs of one lane share batches
of any size, on a device whose memory holds fewer inputs than are sent. As a program
(`sie soak --batches`) it draws fresh seeds for so many minutes, and ends at the first that fails.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig
from safetensors.torch import save_file
from tests.support.conformance import load as load_vectors
from tests.support.encoder_models import DEVICE
from tests.support.judging import run_judge
from tests.support.random_layouts import Drawn, draw
from tests.support.rare_layouts import draw_rare
from tests.support.scored import load as load_pairs
from tests.support.small_jobs import small_job
from tests.support.small_tokenizers import WORDS
from torch import nn

from sie_schemas import arrays, ipc
from sie_schemas.documents import EncodeTask, Tasks
from sie_schemas.errors import FixRequest, OurFault, SIEError, error_for
from sie_schemas.items import Item
from sie_schemas.jobs import AdapterPin, Job
from sie_server.backends.backend import Backend
from sie_server.backends.forward.loaded_encoder import EncoderBackend
from sie_server.execution.execution import Execution
from sie_server.tolerances import disagreement, logits_agree
from sie_server.weights.sources import Weights
from sie_worker.device.isolation import run_isolated
from sie_worker.forms.answers import public_answers
from sie_worker.forms.tokenizing import Tokenizer, prepare

__all__ = ["judged", "without_ties"]

_OUTPUTS: Final = {"dense": "dense", "sparse": "sparse", "tokens": "multivector"}
_ODD: Final = ("", " ", "\n", "[MASK] <pad>", "\u200b", "!!!", "Ünïcödé \U0001f600", "</s>")
_LONGEST: Final = 300
"""Words of a text beyond which a small model on one core takes seconds."""
_LOOKED_AT: Final = 12
"""Items of a job that are asked for once more, alone."""
_PASSES_MAX: Final = 4
"""Fewer than a worker's: so that some batches run one by one in the end."""

_Outcome = bytes | SIEError


class _Cramped:
    """A backend whose memory holds no more than `room` inputs at once."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.room = 1 << 30

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def run(self, batch: ipc.RunBatch) -> ipc.Answers:
        """The answers, or a full memory."""
        if len(batch.inputs) > self.room:
            raise MemoryError("no room for so many inputs")
        return self._backend.run(batch)


class _Path:
    """The way of inputs from jobs through batches to answers, as a worker and its device go it."""

    def __init__(self, backend: Backend, random: Random) -> None:
        self._cramped: Any = _Cramped(backend)
        self._loaded = backend.describe()
        self._tokenizer = Tokenizer.read(self._loaded)
        self._execution = Execution(DEVICE, memory_bytes_max=0)
        self._execution.adopt("r1", self._cramped)
        self._random = random

    async def outcomes(
        self, jobs: Sequence[Job], sizes: Sequence[int], room: int = 1 << 30
    ) -> list[list[_Outcome]]:
        """Of each job that of each item. Jobs are of one lane; batches have one of the sizes."""
        self._cramped.room = room
        found: list[dict[int, _Outcome]] = [{} for _ in jobs]
        waiting: list[tuple[int, int, ipc.Input]] = []
        for place, job in enumerate(jobs):
            try:
                prepared = prepare(job, self._loaded, self._tokenizer)
            except SIEError as error:
                found[place] = dict.fromkeys(range(len(job.items)), error)
                continue
            for failure in prepared.failures:
                found[place][failure.index] = error_for(failure.code, failure.message)
            waiting += [(place, index, given) for index, given, _ in prepared.inputs]
        if self._random.random() < 0.5:
            self._random.shuffle(waiting)

        async def run(part: Sequence[tuple[int, int, ipc.Input]]) -> list[_Outcome]:
            return self._run(jobs, part)

        while waiting:
            size = self._random.choice(sizes)
            part, waiting = waiting[:size], waiting[size:]
            outcomes, left = await run_isolated(run, part, passes_max=_PASSES_MAX)
            waiting = [each for rest in left for each in rest] + waiting
            ran = part[: len(part) - sum(map(len, left))]
            for (place, index, _), outcome in zip(ran, outcomes, strict=True):
                assert index not in found[place], "an item has two outcomes"
                found[place][index] = outcome
        return [[own[index] for index in range(len(own))] for own in found]

    def _run(self, jobs: Sequence[Job], part: Sequence[tuple[int, int, Any]]) -> list[_Outcome]:
        own = [jobs[place] for place, _, _ in part]
        adapters = tuple(job.adapter for job in own)
        reply = self._execution.answer(
            ipc.RunBatch(
                id=1,
                model_revision="r1",
                operation=own[0].operation,
                inputs=tuple(given for _, _, given in part),
                outputs=own[0].output_types,
                adapters=adapters if any(adapters) else (),
            )
        )
        if isinstance(reply, ipc.Failed):
            raise error_for(reply.code, reply.message)
        assert isinstance(reply, ipc.BatchDone), reply
        return public_answers(
            reply.answers,
            [job.items[index] for job, (_, index, _) in zip(own, part, strict=True)],
            ["float32"] * len(part),
            [job.dimensions for job in own],
        )


async def judged(seed: int, folder: Path) -> Counter[str]:
    """Counts of what was compared. Raises `AssertionError` where an answer is another in a batch
    than alone, or a refusal is another's."""
    torch.set_num_threads(1)
    random = Random(seed)
    try:
        drawn = (draw, draw, draw_rare)[seed % 3](seed, folder)
    except ValueError:
        return Counter(["not made"])  # choices that the library itself refuses together
    dtype = random.choice((torch.float32, torch.float32, torch.bfloat16))
    try:
        backend = _loaded(drawn, dtype)
    except (OurFault, FixRequest):
        return Counter(["refused"])
    if drawn.kind == "images":
        return Counter(["of images"])
    path = _Path(backend, random)
    pins = _adapters(backend, random, folder) if drawn.kind == "dense" else []
    counts: Counter[str] = Counter([f"{drawn.kind} {backend.describe().execution}"])
    for _ in range(2):
        jobs = _jobs(drawn, random, backend.describe().max_sequence_length or 60, pins)
        sizes = random.choice(((1, 2, 3), (7,), (64,), (500,), (1, 2, 3, 17, 64)))
        room = random.choice((1 << 30, 1 << 30, 5, 33))
        together = await path.outcomes(jobs, sizes, room)
        for job, outcomes in zip(jobs, together, strict=True):
            some = random.sample(range(len(outcomes)), min(len(outcomes), _LOOKED_AT))
            for index in some:
                single = msgspec.structs.replace(job, items=(job.items[index],))
                [[alone]] = await path.outcomes([single], (1,))
                differs = _differs(outcomes[index], alone, dtype)
                where = f"item {index} of {len(outcomes)}, {job.adapter}, {job.dimensions}"
                assert not differs, f"{where}: {differs}; batches of {sizes}, room for {room}"
                counts["compared"] += 1
                counts["adapted"] += job.adapter is not None
                counts["items refused"] += isinstance(alone, SIEError)
    return counts


def _loaded(drawn: Drawn, dtype: torch.dtype) -> Backend:
    name = "bf16" if dtype == torch.bfloat16 else "fp32"
    match drawn.kind:
        case "dense" | "sparse":
            return load_vectors(drawn.folder, outputs=(drawn.kind,), dtype=name)
        case "tokens":
            tasks = Tasks(encode=EncodeTask(outputs=("multivector",)))
            return load_pairs(drawn.folder, backend="transformer", tasks=tasks)
        case _:
            return load_pairs(drawn.folder)


def _jobs(drawn: Drawn, random: Random, limit: int, pins: Sequence[AdapterPin]) -> list[Job]:
    jobs = []
    for number in range(random.choice((1, 1, 2, 5))):
        texts = _texts(random, limit)
        told: dict[str, Any] = {}
        if drawn.kind == "score":
            words = random.choice((0, 1, 3, limit, 3 * limit))
            told = {"operation": "score", "query": Item(text=_text(random, words))}
        else:
            told["output_types"] = (_OUTPUTS[drawn.kind],)
            told["options"] = random.choice(({}, {"is_query": True}, {"is_query": False}))
            told["adapter"] = random.choice((None, *pins))
            if drawn.kind != "sparse":
                told["dimensions"] = random.choice((None, None, None, 1, 4))
        items = tuple(Item(text=text, id=f"i{place}") for place, text in enumerate(texts))
        jobs.append(small_job(job_id=f"r{number}.0", items=items, **told))
    return jobs


def _texts(random: Random, limit: int) -> list[str]:
    count, limit = random.choice((1, 2, 3, 7, 33, 64, 64, 130)), min(limit, _LONGEST)
    near = [limit + step for step in (-4, -3, -2, -1, 0, 1, 2)]
    powers = [max(0, 2**power + step) for power in range(9) for step in (-3, -2, -1, 0, 1)]
    kind = random.choice(("mixed", "equal", "one long", "powers", "sorted", "near", "empty"))
    match kind:
        case "equal":
            lengths = [random.choice((0, 1, 3, *near))] * count
        case "one long":
            lengths = [random.randint(0, 4) for _ in range(count)]
            lengths[random.randrange(count)] = 10 * limit
        case "empty":
            lengths = [random.choice((0, 0, 0, 1, 2, 5)) for _ in range(count)]
        case "sorted":
            lengths = sorted((random.randint(0, limit + 3) for _ in range(count)), reverse=True)
        case _:
            choices = {"powers": powers, "near": near}.get(kind, [0, 1, 2, 5, limit // 2, *near])
            lengths = [random.choice(choices) for _ in range(count)]
    texts = [_text(random, max(0, length)) for length in lengths]
    if random.random() < 0.2:
        return [random.choice(_ODD) if random.random() < 0.3 else text for text in texts]
    return [texts[0]] * count if random.random() < 0.1 else texts


def _text(random: Random, words: int) -> str:
    return " ".join(random.choice(WORDS) for _ in range(words))


def _adapters(backend: Backend, random: Random, folder: Path) -> list[AdapterPin]:
    """Adapters of any ranks on any layers; none of a model that does not take those."""
    if not isinstance(backend, EncoderBackend):
        return []
    layers = {
        name: layer
        for name, layer in backend._core.encoder.model.named_modules()
        if isinstance(layer, nn.Linear) and not name.startswith("pooler")
    }
    pins: list[AdapterPin] = []
    for number in range(random.choice((0, 1, 2, 5, 20, 50)) if layers else 0):
        rank, place = random.choice((1, 2, 3, 8, 16, 33)), folder / f"adapter-{number}"
        chosen = random.sample(sorted(layers), random.randint(1, len(layers)))
        generator = torch.Generator().manual_seed(number)
        tensors = {}
        for name in chosen:
            down, up = (rank, layers[name].in_features), (layers[name].out_features, rank)
            for part, shape in (("lora_A", down), ("lora_B", up)):
                factor = torch.randn(shape, generator=generator) * 0.2
                tensors[f"base_model.model.{name}.{part}.weight"] = factor
        place.mkdir()
        save_file(tensors, place / "adapter_model.safetensors")
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=chosen)
        config.save_pretrained(str(place))
        pin = AdapterPin(f"a{number}", "1")
        try:
            backend.load_adapter(pin, Weights(place, None))
        except OurFault:
            continue
        pins.append(pin)
    return pins


def _differs(together: _Outcome, alone: _Outcome, dtype: torch.dtype) -> str:
    if isinstance(together, SIEError) or isinstance(alone, SIEError):
        told = [str(each) if isinstance(each, SIEError) else "" for each in (together, alone)]
        return "" if told[0] == told[1] else f"{told[0] or 'answered'!r}, alone {told[1]!r}"
    found, expected = (arrays.from_wire(msgspec.msgpack.decode(one)) for one in (together, alone))
    if "score" in found:
        left, right = (torch.tensor([one["score"]]) for one in (found, expected))
        return "" if logits_agree(left, right, dtype) else f"{found} for {expected}"
    rows = [torch.from_numpy(_rows(each)) for each in (found, expected)]
    if rows[0].shape != rows[1].shape or (found.get("id") != expected.get("id")):
        return f"{tuple(rows[0].shape)} of {found.get('id')} for {tuple(rows[1].shape)}"
    if not rows[0].numel():
        return ""
    differs = disagreement(rows[0], rows[1], dtype)
    if differs and "sparse" in found:
        rows = without_ties(rows, dtype)
        return disagreement(rows[0], rows[1], dtype)
    return differs


_ULPS: Final = 2
"""The farthest that was met at the limit of a sparse vector's words was one."""


def without_ties(rows: Sequence[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
    """Two vectors of words without those that only one has, where rounding chose among them.

    At the most words that a vector may have, the last are often equal in half precision, and what
    stands beside a text in a batch rounds them apart.
    """
    has = [row != 0 for row in rows]
    lost = has[0] != has[1]
    if not lost.any() or has[0].sum() != has[1].sum():
        return [*rows]
    least = min(row[own].abs().min().item() for row, own in zip(rows, has, strict=True))
    most = max(row[lost].abs().max().item() for row in rows)
    if most > least * (1 + _ULPS * torch.finfo(dtype).eps):
        return [*rows]
    return [row.masked_fill(lost, 0) for row in rows]


def _rows(answer: dict[str, Any]) -> NDArray[np.float64]:
    if "sparse" not in answer:
        told = answer["dense" if "dense" in answer else "multivector"]
        return np.atleast_2d(np.asarray(told["values"], dtype=np.float64))
    # No small vocabulary has more words.
    row = np.zeros((1, 4096))
    row[0, np.asarray(answer["sparse"]["indices"], dtype=np.int64)] = answer["sparse"]["values"]
    return row


if __name__ == "__main__":
    run_judge(__doc__ or "", judged)
