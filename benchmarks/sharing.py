"""The cost of sharing: eight models where four fit, and a small tenant beside one that floods.

*main.* `python benchmarks/sharing.py [--quick] [--json] [--only models|tenants]`. Whole clusters,
over HTTP, with one device each. Models: eight that are MiniLM under eight names, asked for single
short texts by a Zipf distribution; a cluster whose device has room for four of them takes turns
with one that has room for all. Tenants, on the latter: one client that sends single texts, alone
and then beside another tenant's clients, who send lists of 32 as fast as they are answered.
"""

import contextlib
import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from measuring import ZIPF, arguments_parser, machine, report, short_texts
from minilm import SOURCE, tokenizer
from serving import ours
from serving.load import Window, drive, post
from serving.running import Running, started

from sie_cli.plan.ports import free_ports
from sie_server.weights.sources import resolve

_MODELS: Final = tuple(f"bench/minilm-{number}" for number in range(8))
_ROOM: Final = 4
"""Half of the models: both a hit and a reload are usual."""
_CLIENTS: Final = 16
"""Enough that a resident model always has a batch while another one loads."""
_FLOODING: Final = 16
"""With 32 texts each, 512 are ahead of the small tenant's one wherever turns are not taken."""
_FLOOR: Final = 0.7
"""Of the rate with all resident. It was 0.16 before models left by use, and is 0.61 now."""
_TIMES_MAX: Final = 3.0
"""p99 beside the flood over p99 alone. It was 94 before turns, and is 3.4 on an idle machine
now."""


def main() -> None:
    """Measure and report."""
    parser = arguments_parser(__doc__ or "")
    parser.add_argument("--only", choices=("models", "tenants"), help="only this part")
    chosen = parser.parse_args()
    texts = short_texts(tokenizer(resolve(SOURCE).folder), 512)
    rounds, seconds = (1, 1.0) if chosen.quick else (3, 8.0)
    result: dict[str, Any] = {"benchmark": "sharing", "quick": chosen.quick, "machine": machine()}
    # Half a model more than four, so that none leaves for a rounding of sizes.
    size = (resolve(SOURCE).folder / "model.safetensors").stat().st_size
    tight_bytes = str(int(size * (_ROOM + 0.5)))
    with (
        tempfile.TemporaryDirectory(prefix="sie-sharing-") as name,
        contextlib.ExitStack() as stack,
    ):
        # Both at once: neither listens yet when the other's are chosen.
        ports = free_ports(2, adjacent=2)
        clusters = [_cluster(Path(name) / "all", ports[0])]
        if chosen.only != "tenants":
            four = Path(name) / "four"
            clusters.append(_cluster(four, ports[1], SIE_SERVER_MEMORY_BYTES_MAX=tight_bytes))
        with ThreadPoolExecutor() as threads:
            everything, *tight = threads.map(lambda each: _ready(stack, each), clusters)
        for cluster in tight:
            result["models"] = _models(everything, cluster, texts, rounds, seconds)
        if chosen.only != "models":
            result["tenants"] = _tenants(everything, texts, rounds, seconds)
    report(result, _lines(result), as_json=chosen.json)


def _ready(
    stack: contextlib.ExitStack, cluster: contextlib.AbstractContextManager[Running]
) -> Running:
    """The cluster, started, with every model answering; the stack ends it."""
    running = stack.enter_context(cluster)
    ours.register(running, _MODELS, ["fp32"])
    return running


def _models(
    everything: Running, tight: Running, texts: Sequence[str], rounds: int, seconds: float
) -> dict[str, Any]:
    """Items a second with room for four, over those with room for all."""
    requests = _zipf_requests(texts)
    rates: dict[str, list[float]] = {"all": [], "four": []}
    # Unmeasured: what a model's second load learns for those after it.
    _window(tight, requests, _CLIENTS, seconds)
    for _ in range(rounds):
        for name, cluster in (("all", everything), ("four", tight)):
            window = _window(cluster, requests, _CLIENTS, seconds)
            rates[name].append(window.requests / window.seconds)
    every, four = (statistics.median(rates[name]) for name in ("all", "four"))
    return {
        "models": len(_MODELS),
        "room": _ROOM,
        "items_per_s_all_resident": round(every, 1),
        "items_per_s": round(four, 1),
        "ratio": round(four / every, 3),
        "floor": _FLOOR,
    }


def _tenants(cluster: Running, texts: Sequence[str], rounds: int, seconds: float) -> dict[str, Any]:
    """The small tenant's p99 beside the flood over its p99 alone."""
    alone: list[float] = []
    beside: list[float] = []
    small = [_request(cluster, _MODELS[0], [text], "small") for text in texts]
    lists = [
        _request(cluster, _MODELS[0], texts[start : start + 32], "flood")
        for start in range(0, len(texts), 32)
    ]
    for _ in range(rounds):
        alone += _window(cluster, small, 1, seconds).latencies
        flood = multiprocessing.Process(
            target=_window, args=(cluster, lists, _FLOODING, seconds + 1)
        )
        flood.start()
        beside += _window(cluster, small, 1, seconds).latencies
        flood.join()
    quiet, loud = (float(np.percentile(each, 99)) * 1000 for each in (alone, beside))
    return {
        "p99_ms_alone": round(quiet, 2),
        "p99_ms_beside_flood": round(loud, 2),
        "p50_ms_alone": round(float(np.percentile(alone, 50)) * 1000, 2),
        "p50_ms_beside_flood": round(float(np.percentile(beside, 50)) * 1000, 2),
        "times": round(loud / quiet, 2),
        "times_max": _TIMES_MAX,
        "answers": [len(alone), len(beside)],
    }


def _cluster(folder: Path, port: int, **environ: str) -> contextlib.AbstractContextManager[Running]:
    folder.mkdir()
    launch = ours.launch(folder / "data", port, "--devices", "1", environ=environ)
    return started(folder.name, launch, folder / "log")


def _zipf_requests(texts: Sequence[str]) -> list[bytes]:
    weights = 1 / np.arange(1, len(_MODELS) + 1) ** ZIPF
    drawn = np.random.default_rng(3).choice(len(_MODELS), len(texts), p=weights / weights.sum())
    return [
        post("/v1/embeddings", json.dumps({"model": _MODELS[place], "input": text}).encode())
        for place, text in zip(drawn, texts, strict=True)
    ]


def _request(cluster: Running, model: str, texts: Sequence[str], tenant: str) -> bytes:
    body = json.dumps({"model": model, "input": list(texts)}).encode()
    return post(cluster.path, body, f"x-sie-tenant: {tenant}")


def _window(
    cluster: Running, requests: Sequence[bytes], concurrency: int, seconds: float
) -> Window:
    return drive(cluster.port, requests, concurrency=concurrency, warm_s=1.0, seconds=seconds)


def _lines(result: dict[str, Any]) -> list[str]:
    return [
        f"{part}: " + ", ".join(f"{name} {value}" for name, value in result[part].items())
        for part in ("models", "tenants")
        if part in result
    ] + [str(result["machine"])]


if __name__ == "__main__":
    main()
