"""The speed at which the past is told: every read of sie-config over a long log, one client.

*main.* `python benchmarks/history.py [--quick] [--json] [--only WORD…] [--folder DIR]`. Makes a log
of 100,000 entries over 10,000 models, one of which was changed 5,000 times, and asks a real
`sie-config` process for entities, pages, histories and bulk reads: now, at random epochs, at times.
`--quick` takes a tenth of both. `--folder` keeps the log for the next run. Status 1 when a bound
does not hold.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from log_figures.figures import Figure, as_json, as_table, percentile
from log_figures.growth import make_log
from log_figures.processes import Server, our_body, ours

_BOUND_MS: Final = 100.0
_FIRST_BYTES: Final = 4096
"""As much of a bulk read as shows that rows come, and not only what stands before them."""
_NDJSON: Final = {"accept": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class Read:
    """One kind of read: how its request is made, and how often it is asked."""

    name: str
    path: Callable[[], str]
    times: int = 200
    is_bulk: bool = False
    """True if the first rows count, and not the last."""
    headers: tuple[tuple[str, str], ...] = ()
    after_write: bool = False
    """True if the head moves before each: what was made for an older one does not serve."""


@dataclass(frozen=True, slots=True)
class Past:
    """The log that is read."""

    entries: int
    models: int
    began: str
    """The time of an entry near the beginning."""
    ended: str
    revision: str
    """A revision of an old version of the model that was changed most."""


def _reads(past: Past, rng: random.Random) -> list[Read]:
    def model() -> str:
        return f"/v1/configs/models/org/seed-{rng.randrange(1, past.models)}"

    def epoch() -> int:
        return rng.randrange(past.models * 6 // 5, past.entries)

    often = "/v1/configs/models/org/seed-0"
    root = "/v1/configs"
    return [
        Read("an entity", model),
        Read("an entity at an epoch", lambda: f"{model()}?at={epoch()}"),
        Read("an entity at a time", lambda: f"{model()}?at={past.ended}"),
        Read("a page of 100", lambda: f"{root}/models?limit=100&after={model()[19:]}"),
        Read(
            "a page of 100 at an epoch",
            lambda: f"{root}/models?limit=100&after={model()[19:]}&at={epoch()}",
        ),
        Read("a page of 1,000", lambda: f"{root}/models?limit=1000&after={model()[19:]}", 50),
        Read("a page of 1,000 at an epoch", lambda: f"{root}/models?limit=1000&at={epoch()}", 50),
        Read("a history", lambda: f"{model()}/history"),
        Read("a history with differences", lambda: f"{model()}/history?diff=true"),
        Read("a history up to an epoch", lambda: f"{model()}/history?at={past.entries}"),
        Read("a page of 1,000 of a long history", lambda: f"{often}/history?limit=1000", 50),
        Read(
            "a long history with differences", lambda: f"{often}/history?limit=1000&diff=true", 50
        ),
        Read("a blame", lambda: f"{model()}/blame"),
        Read("a blame over a long history", lambda: f"{often}/blame?at={epoch()}", 50),
        Read("an entry", lambda: f"{root}/entries/{epoch()}"),
        Read("a page of 1,000 entries", lambda: f"{root}/log?after={epoch()}&limit=1000", 50),
        Read("the audit", lambda: f"{root}/audit"),
        Read("the audit of one actor", lambda: f"{root}/audit?actor=nobody", 50),
        Read("the audit of one entity", lambda: f"{root}/audit?kind=model&key={model()[19:]}"),
        Read("the audit of one kind", lambda: f"{root}/audit?kind=model", 50),
        Read("the audit before a time", lambda: f"{root}/audit?before={past.ended}"),
        Read("what 100 epochs changed", lambda: _hundred(epoch()), 50),
        Read("what one epoch changed", lambda: _one(epoch()), 50),
        Read(
            "a revision to its config, model known",
            lambda: f"{root}/resolve?revision={past.revision}&key=org/seed-0",
            50,
        ),
        Read(
            "a revision to its config, model not known",
            lambda: f"{root}/resolve?revision={past.revision}",
            20,
        ),
        Read("the replicas", lambda: f"{root}/replicas"),
        Read("an export of now", lambda: f"{root}/export", 30, is_bulk=True),
        Read(
            "an export after a write", lambda: f"{root}/export", 30, is_bulk=True, after_write=True
        ),
        Read("an export at an epoch", lambda: f"{root}/export?at={epoch()}", 30, is_bulk=True),
        Read("every model", lambda: f"{root}/models", 30, is_bulk=True),
        Read("every model at an epoch", lambda: f"{root}/models?at={epoch()}", 30, is_bulk=True),
        Read("the whole log", lambda: f"{root}/log", 20, True, tuple(_NDJSON.items())),
        Read("the whole audit", lambda: f"{root}/audit", 20, True, tuple(_NDJSON.items())),
        Read(
            "what half of the log changed",
            lambda: f"{root}/diff?from={past.entries // 2}",
            10,
            is_bulk=True,
        ),
    ]


def _hundred(epoch: int) -> str:
    return f"/v1/configs/diff?from={max(1, epoch - 100)}&to={epoch}"


def _one(epoch: int) -> str:
    return f"/v1/configs/diff?from={epoch - 1}&to={epoch}"


class Reader:
    """One client: one connection that stays open."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self._written = 0

    def first_ms(self, path: str, headers: dict[str, str]) -> float:
        """Milliseconds to the first rows of the body; the rest is left, with the connection."""
        first, _, answer = self._asked(path, headers)
        answer.close()
        self._connection.close()
        return first

    def whole_ms(self, path: str, headers: dict[str, str]) -> float:
        """Milliseconds to the last byte of the body."""
        _, began, answer = self._asked(path, headers)
        answer.read()
        return (time.perf_counter() - began) * 1000

    def _asked(
        self, path: str, headers: dict[str, str]
    ) -> tuple[float, float, http.client.HTTPResponse]:
        if self._connection.sock is None:
            self._connection.connect()
        began = time.perf_counter()
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        answer.read(_FIRST_BYTES)
        first = (time.perf_counter() - began) * 1000
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}: {answer.read()[:300]!r}")
        return first, began, answer

    def processor_s(self) -> float:
        """Processor time of the server so far: what a busy machine does not lengthen."""
        return self._server.processor_s()

    def json(self, path: str) -> dict[str, object]:
        """An answer's value."""
        self._connection.request("GET", path)
        found: dict[str, object] = json.loads(self._connection.getresponse().read())
        return found

    def write(self) -> None:
        """Make one change, so that the head moves."""
        self._written += 1
        body = our_body(f"written/m-{os.getpid()}-{self._written}")
        headers = {"content-type": "application/json"}
        self._connection.request("POST", "/v1/configs/models", body, headers)
        answer = self._connection.getresponse()
        if answer.status != 201:
            raise RuntimeError(f"a write was answered {answer.status}: {answer.read()!r}")
        answer.read()


def _past(reader: Reader, entries: int, models: int) -> Past:
    early = reader.json(f"/v1/configs/entries/{entries // 100}")["body"]
    late = reader.json(f"/v1/configs/entries/{entries // 2}")["body"]
    assert isinstance(early, dict) and isinstance(late, dict)
    from sie_schemas.revisions import model_revision  # noqa: PLC0415 - the one thing of ours

    old = reader.json(f"/v1/configs/models/org/seed-0?at={entries // 2}")["document"]
    assert isinstance(old, dict)
    return Past(entries, models, early["ts"], late["ts"], model_revision(old, "default"))


def _measured(reader: Reader, read: Read) -> Iterator[Figure]:
    took = []
    headers = dict(read.headers)
    ask = reader.first_ms if read.is_bulk else reader.whole_ms
    worked = reader.processor_s()
    # Two unmeasured ones: nobody asks a process only once in its life.
    for number in range(read.times + 2):
        if read.after_write:
            reader.write()
        spent = ask(read.path(), headers)
        if number >= 2:
            took.append(spent)
    worked_ms = (reader.processor_s() - worked) / (read.times + 2) * 1000
    note = f"p50 {percentile(took, 0.5):.1f}, processor {worked_ms:.1f}"
    name = read.name
    if read.is_bulk:
        name += ": first rows"
        note += f", all of it {reader.whole_ms(read.path(), headers):,.0f}"
    yield Figure(f"{name}, p99", percentile(took, 0.99), "ms", _BOUND_MS, "below", note)


def measure(folder: Path, *, entries: int, models: int, only: Sequence[str]) -> list[Figure]:
    """The figures of every read whose name has one of the words `only` in it."""
    make_log(folder, entries, models, often=entries // 20)
    figures: list[Figure] = []
    with ours(folder, "--full-fold-share", "0.01") as server:
        reader = Reader(server)
        reads = _reads(_past(reader, entries, models), random.Random(1))
        for read in reads:
            if any(word in read.name for word in only):
                figures += _measured(reader, read)
    return figures


def main() -> None:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description="How fast the past is told.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the log")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--only", nargs="+", default=[""], help="reads with one of these words")
    parser.add_argument("--folder", type=Path, help="keep the log here, and use it again")
    options = parser.parse_args()
    entries, models = (10_000, 1000) if options.quick else (100_000, 10_000)
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        figures = measure(folder, entries=entries, models=models, only=options.only)
    if options.json:
        told = {"entries": entries, "models": models, "figures": as_json(figures)}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        sys.stdout.write(f"{entries} entries, {models} models\n\n{as_table(figures)}\n")
    if any(figure.met is False for figure in figures):
        sys.exit(1)


if __name__ == "__main__":
    main()
