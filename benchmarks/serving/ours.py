"""This project's cluster as a contender: `sie up`, and the model in both types.

*shell.* The whole cluster on this machine as a user starts it: broker, sie-config, gateway, worker,
model execution. One cluster answers in float32 and in bfloat16: they are two profiles of one model.
"""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from minilm import SOURCE

from serving.peers import Launch
from serving.running import Running, ask
from sie_cli.plan.installation import scripts_folder

__all__ = ["MODEL", "launch", "register", "spec"]

MODEL: Final = "bench/minilm"
_FIRST_ANSWER_S: Final = 120.0
"""The first request loads the model; `import torch` alone took 2.7 s on an idle machine."""


def launch(data: Path, port: int, *flags: str, environ: dict[str, str] | None = None) -> Launch:
    """The start of a cluster on a folder of its own; sie-config takes the next port."""
    return Launch(
        command=(
            *(str(scripts_folder() / "sie"), "up", "--data", str(data), "--port", str(port)),
            *flags,
        ),
        port=port,
        path="/v1/embeddings",
        ready_path="/readyz",
        # Patience for a machine that is busy with the start of many servers.
        environ={"SIE_CLUSTER_READY_S": "200"} | (environ or {}),
    )


def spec(model_id: str, dtype: str) -> str:
    """The name by which a request asks for the model in a type: float32 is its default profile."""
    return model_id if dtype == "fp32" else f"{model_id}:{dtype}"


def register(cluster: Running, model_ids: Sequence[str], dtypes: Sequence[str]) -> None:
    """Put copies of MiniLM into a cluster, and wait until each has answered in each type."""
    for model_id in model_ids:
        url = f"http://127.0.0.1:{cluster.port + 1}/v1/configs/models"
        ask(url, _model_document(model_id, dtypes))
    ends_at = time.monotonic() + _FIRST_ANSWER_S
    for name in [spec(model_id, dtype) for model_id in model_ids for dtype in dtypes]:
        while not _answers(cluster, name):
            if time.monotonic() > ends_at:
                raise RuntimeError(f"{name} has not answered in {_FIRST_ANSWER_S:g} s")
            time.sleep(0.1)


def _model_document(model_id: str, dtypes: Sequence[str]) -> dict[str, Any]:
    return {
        "model_id": model_id,
        "source": SOURCE.model_dump(mode="json", exclude_none=True),
        "tasks": {"encode": {"outputs": ["dense"]}},
        "profiles": {
            "default" if dtype == "fp32" else dtype: {"backend": "transformer", "dtype": dtype}
            for dtype in dtypes
        },
    }


def _answers(cluster: Running, model: str) -> bool:
    url = f"http://127.0.0.1:{cluster.port}{cluster.path}"
    with contextlib.suppress(OSError):
        ask(url, {"model": model, "input": "hello"})
        return True
    return False
