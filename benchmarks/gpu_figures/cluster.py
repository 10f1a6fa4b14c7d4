"""The whole cluster on the device, with one gateway and with several: requests over HTTP.

*shell.* As `serve.py` starts it, with MiniLM. Each window has texts of its own.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from measuring import mixed_texts, short_texts
from minilm import SOURCE, tokenizer
from serving import ours
from serving.load import drive, post
from serving.running import started

from sie_cli.plan.ports import free_ports
from sie_server.weights.sources import resolve

__all__ = ["cluster_rates"]

_LOADS: Final = (("single texts, 64 clients", 64, 1), ("lists of 32 mixed, 8 clients", 8, 32))
_WARM_S: Final = 1.0
"""The first batches pick kernels and fill the allocator's pool, and are nobody's count."""


def cluster_rates(
    gateways: Sequence[int], dtype: str, *, seconds: float, windows: int
) -> dict[str, dict[str, float]]:
    """Items a second by number of gateways and load; the best window."""
    return {
        f"{count} gateway{'s' if count > 1 else ''}": _rates(count, dtype, seconds, windows)
        for count in gateways
    }


def _rates(gateways: int, dtype: str, seconds: float, windows: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        port = free_ports(1, adjacent=2)[0]
        launch = ours.launch(data / "sie", port, "--gateways", str(gateways))
        with started("sie-cluster", launch, data / "log") as cluster:
            ours.register(cluster, (ours.MODEL,), ("fp32", dtype))
            found: dict[str, float] = {}
            for label, clients, size in _LOADS:
                rates = [
                    _window(cluster.port, dtype, clients, size, seconds, seed)
                    for seed in range(1, windows + 1)
                ]
                found[label] = max(rates)
            return found


def _window(port: int, dtype: str, clients: int, size: int, seconds: float, seed: int) -> float:
    words = tokenizer(resolve(SOURCE).folder)
    texts = (short_texts if size == 1 else mixed_texts)(words, 512, seed=seed)
    body: dict[str, Any] = {"model": ours.spec(ours.MODEL, dtype)}
    requests = [
        post("/v1/embeddings", json.dumps({**body, "input": texts[at : at + size]}).encode())
        for at in range(0, len(texts), size)
    ]
    window = drive(port, requests, concurrency=clients, warm_s=_WARM_S, seconds=seconds)
    return window.requests * size / window.seconds
