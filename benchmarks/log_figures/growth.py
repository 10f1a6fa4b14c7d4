"""Growth: what a log of many entries costs to verify, to fold and to open again.

*shell.* Makes logs with the writer's own code, then measures on them. A restart is measured in a
process of its own: from the first look at the file, and from its start with all its imports.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from log_figures.figures import Figure
from log_figures.processes import Client, ours
from sie_config.keys.key_file import key_path, make_key
from sie_config.log.links import check_links
from sie_config.log.log_file import LogFile
from sie_config.log.replay import replay
from sie_config.offline.log_reader import LOG_NAME, LogReader
from sie_config.writer.draft import Draft, Tenure, Write
from sie_config.writer.rules import Index, Put
from sie_config.writer.seed import SEED
from sie_core.registry import Registry
from sie_schemas import canonical
from sie_schemas.documents import admit_document
from sie_schemas.entry import Change, ChangeKind, Entry, put_key
from sie_testing.signing import WRITER_KEY

__all__ = ["command_of", "grow", "make_entries", "make_log"]

_PAGE = 500
"""A transaction for each entry would sync each; of a hundred thousand at once, all are in
memory."""


def command_of(number: int, change: int = 0) -> Put:
    """The command that puts a model."""
    document = {
        "model_id": f"org/seed-{number}",
        "source": {"type": "hub", "id": f"org/seed-{number}", "revision": "0" * 40},
        "tasks": {"encode": {}},
        "profiles": {"default": {"backend": "transformer", "batch_cost_max": change + 1}},
        "description": f"change {change}",
    }
    admitted = admit_document("model", document)
    return Put("model", f"org/seed-{number}", admitted, canonical.dumps(admitted))


def make_entries(count: int) -> list[Entry]:
    """The entries of a log with a model in each."""
    draft = _begun()
    for number in range(count - len(draft.entries)):
        draft.write(Write("bench", "", "r", (command_of(number),)))
    return signed(draft.entries)


def make_log(folder: Path, entries: int, models: int, *, often: int = 0) -> Path:
    """A closed log with so many entries over so many models; made once.

    `often` is how many of the entries change the first model.
    """
    path = folder / LOG_NAME
    if path.exists():
        return path
    draft = _begun()
    file = LogFile.open(path)
    every = entries // often if often else entries
    for number in range(entries - len(draft.entries)):
        turn, left = divmod(number, every)
        model = (number - turn) % models if left else 0
        draft.write(Write("bench", "", "r", (command_of(model, number),)))
        if len(draft.entries) >= _PAGE:
            file.append(signed(draft.entries))
            draft.entries.clear()
    file.append(signed(draft.entries))
    file.close()
    make_key(key_path(path), WRITER_KEY)
    return path


def signed(entries: Sequence[Entry]) -> list[Entry]:
    """Entries with their signatures, as a log of single writes has them: one for each."""
    return [WRITER_KEY.signed(entry) for entry in entries]


def _begun() -> Draft:
    index = Index()
    draft = Draft(
        Registry.EMPTY, index, None, Tenure("ab" * 16, 1, "00" * 8), time.time_ns() // 1000
    )
    first = [Change(kind=ChangeKind.LOG_BEGIN), put_key(WRITER_KEY.document)]
    draft.begin(first, actor="bench", reason="")
    draft.begin([Change(kind=ChangeKind.TERM_BEGIN)], actor="bench", reason="")
    draft.begin(SEED, actor="bench", reason="")
    for entity in draft.registry:
        index.update(entity.kind, entity.key, json.loads(entity.document))
    return draft


def grow(folder: Path, sizes: Sequence[int]) -> tuple[list[Figure], list[dict[str, float]]]:
    """Figures of the largest log, and the points that show how cost grows."""
    points = [_point(folder / f"grown-{size}", size) for size in sizes]
    last = points[-1]
    scale = sizes[-1] / 100_000
    figures = [
        Figure(f"{sizes[-1]} entries: links checked", last["links_s"], "s", 2 * scale, "below"),
        Figure(f"{sizes[-1]} entries: chain verified", last["chain_s"], "s", 2 * scale, "below"),
        Figure(f"{sizes[-1]} entries: fold with digests", last["fold_s"], "s", 5 * scale, "below"),
        Figure(f"{sizes[-1]} entries: restart to writable", last["restart_s"], "s", 2, "below"),
        Figure("… from the start of the process, roll call included", last["process_s"], "s"),
        Figure("… memory of the process then", last["memory_mib"], "MiB"),
        Figure("… the file", last["file_mib"], "MiB"),
    ]
    return figures, points


def _point(folder: Path, size: int) -> dict[str, float]:
    path = make_log(folder, size, min(size, 10_000))
    point = {"entries": float(size), "file_mib": path.stat().st_size / 2**20}
    with LogReader.open(path) as reader:
        began = time.perf_counter()
        check_links(reader.connection, size)
        point["links_s"] = time.perf_counter() - began
    file = LogFile.open(path)
    began = time.perf_counter()
    for _ in file.verified():
        pass
    point["chain_s"] = time.perf_counter() - began
    began = time.perf_counter()
    replayed = replay(file.verified())
    point["fold_s"] = time.perf_counter() - began
    file.close()
    assert replayed.damage is None
    # The first start leaves the checkpoint that the second one begins from.
    _restarted(folder)
    point["restart_s"] = min(_restarted(folder)["restart_s"] for _ in range(3))
    point |= _process(folder)
    return point


def _restarted(folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "log_figures.restarting", str(folder)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _process(folder: Path) -> dict[str, float]:
    began = time.perf_counter()
    with ours(folder) as server:
        client = Client(server.port)
        client.create(server, f"restart/m-{time.time_ns()}")
        took = time.perf_counter() - began
        status = Path(f"/proc/{server.pid}/status")
        lines = status.read_text().splitlines() if status.exists() else []
        resident = next((line.split()[1] for line in lines if line.startswith("VmRSS")), "0")
        client.close()
    return {"process_s": took, "memory_mib": int(resident) / 1024}
