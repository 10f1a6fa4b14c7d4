"""Makes the lock files of this folder anew from pyproject.toml: one for each image, one for CI.

*main.* `python locks/renew.py [--upgrade]`, with `uv` beside the interpreter or on PATH. Each file
is a requirements file that pip and uv read with `--require-hashes`: every package that an extra
drags in, on every platform and Python that the project supports, with the digest of each of its
files on PyPI. No file names an index: where packages come from is the machine's business, what they
are is not. `dev.txt` is resolved first and the others within it, so that an image runs what CI has
tested.

torch is apart, because one release has two builds: `torch-cuda.txt` is PyPI's, with the libraries
that it needs on Linux, and `torch-cpu.txt` is the same release from an index of CPU builds, whose
digests PyPI cannot tell. They stand in `_CPU_BUILDS`: one that is not there cannot be locked.

What a bundle has beside the rest (`sdk/sie_cli/bundles/NAME.in`) is locked there, each package
without what it asks for.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent
PROJECT: Final = FOLDER.parent / "pyproject.toml"
BUILD: Final = FOLDER / "build.in"
BUNDLES: Final = FOLDER.parent / "sdk/sie_cli/bundles"
LOCKS: Final = {
    "dev": ("dev",),
    "config": ("config", "cli", "traces"),
    "gateway": ("gateway", "traces"),
    "worker": ("worker", "traces"),
    "server": ("server", "cli", "onnx", "spacy", "traces"),
}
"""The use of each file, and the extras that it holds; `dev` first."""
_PYTHON: Final = "3.11"
_TORCH: Final = re.compile(r"(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==")
_CPU_BUILDS: Final = {
    "2.13.0": (
        "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",  # cp311 x86_64
        "84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7",  # cp311 aarch64
        "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",  # cp312 x86_64
        "6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604",  # cp312 aarch64
        "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",  # cp313 x86_64
        "0b8f7d0423027ae8b90c7977c627f3379f325363a08224dffad9b4b2d684a83d",  # cp313 aarch64
        "d20fa53ee744502fa4c69818a720b05ca0d37abd055d4f6e66cae155114bc691",  # cp314 x86_64
        "ca021f9eb2f8345c83fa03e3a04587308afb8df71bd472670b3ece00df58621c",  # cp314 aarch64
    ),
}
"""By release of torch, the SHA-256 of its CPU wheels for Linux, as their index publishes them."""


def main() -> None:
    """Write every file, or end with what is in the way."""
    torch = max(_CPU_BUILDS, key=lambda version: [int(part) for part in version.split(".")])
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        constraints = scratch / "constraints.txt"
        constraints.write_text(f"torch=={torch}\n")
        # What is locked stays as far as pyproject.toml still takes it.
        held = "" if "--upgrade" in sys.argv else _text("dev") + _text("torch-cuda")
        whole = _resolved([PROJECT, BUILD], LOCKS["dev"], constraints, scratch, held)
        _write("dev", [each for each in whole if not _TORCH.match(each)])
        _write("torch-cuda", [each for each in whole if _TORCH.match(each)])
        _write("torch-cpu", [_cpu_build(torch)])
        constraints.write_text("".join(_pin(each) for each in whole))
        for lock in [*LOCKS][1:]:
            entries = _resolved([PROJECT], LOCKS[lock], constraints, scratch, "")
            _write(lock, [each for each in entries if not _TORCH.match(each)])
        _write("build", _resolved([BUILD], (), constraints, scratch, ""))
        constraints.write_text("")
        for bounds in sorted(BUNDLES.glob("*.in")):
            # Alone: the rest is what the cluster has, and what its bundle's tests ran on.
            entries = _resolved([bounds], (), constraints, scratch, "", "--no-deps")
            bounds.with_suffix(".txt").write_text("".join(entries))


def _cpu_build(version: str) -> str:
    hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in _CPU_BUILDS[version])
    return f"torch=={version}+cpu{hashes}\n"


def _resolved(
    sources: Sequence[Path],
    extras: Sequence[str],
    constraints: Path,
    scratch: Path,
    held: str,
    *more: str,
) -> list[str]:
    """The entries of one file: a requirement and its hashes each, sorted by name."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        sys.exit("uv is missing: pip install uv")
    found = scratch / "found.txt"
    found.write_text(held)
    command = [uv, "pip", "compile", *map(str, sources), "--quiet", "--universal", "--no-config"]
    command += ["--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url"]
    command += ["--python-version", _PYTHON, "--constraint", str(constraints), "-o", str(found)]
    command += more
    for extra in extras:
        command += ["--extra", extra]
    environment = {key: value for key, value in os.environ.items() if key != "UV_FIND_LINKS"}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"[{','.join(extras)}] cannot be resolved:\n{done.stderr}")
    return re.findall(r"^\w.*\n(?: .*\n)*", found.read_text(), flags=re.MULTILINE)


def _pin(entry: str) -> str:
    return entry.partition(" \\\n")[0] + "\n"


def _text(name: str) -> str:
    path = FOLDER / f"{name}.txt"
    return path.read_text() if path.exists() else ""


def _write(name: str, entries: Iterable[str]) -> None:
    (FOLDER / f"{name}.txt").write_text("".join(entries))


if __name__ == "__main__":
    main()
