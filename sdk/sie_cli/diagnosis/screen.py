"""The screen of `sie top`: the cluster at a glance, drawn anew at each look.

*shell.* In a terminal it draws over itself until Ctrl-C. In a pipe, or with a form, each look is
printed once. Rates are between two looks, so the first one has none.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sie_cli.diagnosis.facts import Facts, Place, gather
from sie_cli.diagnosis.figures import (
    Figures,
    ModelRate,
    model_rates,
    read_figures,
    signals_of,
)
from sie_cli.diagnosis.verdict import Verdict, judge
from sie_cli.show.printing import Form, print_value
from sie_core.counted import counted
from sie_schemas.errors import visible

__all__ = ["Glance", "glance_of", "show_top"]

_MODELS_SHOWN: Final = 20
"""One screen holds models, workers and troubles; the busiest come first."""
_TROUBLES_SHOWN: Final = 5
"""Likewise; `sie doctor` tells them all."""
_WORKERS_SHOWN: Final = 30
"""Likewise."""
_MIB: Final = 2**20
"""A mebibyte."""


@dataclass(frozen=True, slots=True)
class Glance:
    """One look. `rates` is None where nothing was seen before it, or the gateway shows none."""

    verdict: Verdict
    head: str
    writer: str
    replicas: tuple[int, int]
    """At the head, and all that report."""
    workers: Sequence[Mapping[str, Any]]
    queues: Mapping[str, tuple[float, float, float]]
    rates: Sequence[ModelRate] | None

    def to_builtins(self) -> dict[str, Any]:
        """The look as JSON and YAML tell it."""
        return {
            "head": self.head,
            "writer": self.writer,
            "replicas": {"at_head": self.replicas[0], "all": self.replicas[1]},
            "workers": list(self.workers),
            "queues": {
                pool: {"jobs": jobs, "jobs_max": most, "oldest_s": oldest}
                for pool, (jobs, most, oldest) in self.queues.items()
            },
            "models": None if self.rates is None else [asdict(each) for each in self.rates],
            "troubles": self.verdict.to_builtins()["troubles"],
        }


def glance_of(facts: Facts, rates: Sequence[ModelRate] | None) -> Glance:
    """One look, of what was gathered."""
    ready, rows = facts.config_ready.told, facts.replicas.told.get("replicas", [])
    health = facts.gateway.told if facts.gateway is not None else {}
    return Glance(
        verdict=judge(facts),
        head=str(ready.get("head", "-")),
        writer=str(ready.get("writer", {}).get("state", "no answer")),
        replicas=(sum(bool(row.get("converged")) for row in rows), len(rows)),
        workers=health.get("workers", []),
        queues=signals_of(read_figures(facts.config_metrics.body)).queues,
        rates=rates,
    )


def show_top(place: Place, form: Form, *, every_s: float, count: int) -> None:
    """Look again and again: `count` times; 0 is until Ctrl-C in a terminal, else twice, and the
    second is printed."""
    console = Console()
    is_live = console.is_terminal and not form.is_whole
    looks = count or (0 if is_live else 2)
    before: tuple[Figures, float] | None = None
    done = 0
    # Drawn by us alone, as each look comes; and the last one is left on the screen.
    screen = Live(console=console, auto_refresh=False) if is_live else None
    with screen or nullcontext():
        while not looks or done < looks:
            if done and not _paused(every_s):
                return
            facts = gather(place)
            rates, before = _rates(facts, before)
            done += 1
            glance = glance_of(facts, rates)
            if screen is not None:
                screen.update(drawn(glance), refresh=True)
            elif count or done == looks:
                _print_once(glance, form)


def _paused(seconds: float) -> bool:
    """Wait; False where somebody stops it."""
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        return False
    return True


def _rates(
    facts: Facts, before: tuple[Figures, float] | None
) -> tuple[Sequence[ModelRate] | None, tuple[Figures, float] | None]:
    answer = facts.gateway_metrics
    if answer is None or answer.error or not answer.status:
        return None, None
    now = (read_figures(answer.body), answer.moment)
    if before is None or now[1] <= before[1]:
        return None, now
    return model_rates(before[0], now[0], now[1] - before[1]), now


def _print_once(glance: Glance, form: Form) -> None:
    if form.is_whole:
        print_value(glance.to_builtins(), form)
        return
    # In a pipe nothing is cut.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(drawn(glance))


def drawn(glance: Glance) -> RenderableType:
    """A look as it is drawn."""
    at_head, replicas = glance.replicas
    lead = _text(f"head {glance.head}   writer {glance.writer}   replicas {at_head}/{replicas}")
    parts: list[RenderableType] = [lead]
    parts += [
        _text(each.what, style="red" if each.tone == "bad" else "yellow")
        for each in glance.verdict.troubles[:_TROUBLES_SHOWN]
    ]
    more = len(glance.verdict.troubles) - _TROUBLES_SHOWN
    if more > 0:
        parts.append(Text(f"and {more} more: sie doctor", style="yellow"))
    parts.append(_workers(glance.workers))
    if glance.queues:
        parts.append(_queues(glance.queues))
    parts.append(_models(glance.rates))
    return Group(*parts)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    return table


def _workers(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("worker", "pool", "bundle", "ready", "waiting", "jobs/s", "memory MiB", "models")
    table = _table(counted(len(rows), "worker"), *columns)
    busiest = sorted(rows, key=lambda row: -row.get("queue_depth", 0))
    for row in busiest[:_WORKERS_SHOWN]:
        used, size = row.get("memory_used_bytes", 0), row.get("memory_total_bytes", 0)
        table.add_row(
            _text(row.get("name")),
            _text(row.get("pool")),
            _text(row.get("bundle")),
            Text("yes") if row.get("healthy") else Text("no", style="red"),
            str(row.get("queue_depth", 0)),
            f"{row.get('qps', 0.0):.1f}",
            f"{used // _MIB}/{size // _MIB}" if size else "-",
            str(len(row.get("loaded_models", ()))),
        )
    return table


def _queues(queues: Mapping[str, tuple[float, float, float]]) -> Table:
    table = _table("queues", "pool", "jobs", "most", "oldest s")
    for pool, (jobs, most, oldest_s) in sorted(queues.items()):
        table.add_row(_text(pool), f"{jobs:.0f}", f"{most:.0f}", f"{oldest_s:.1f}")
    return table


def _models(rates: Sequence[ModelRate] | None) -> RenderableType:
    if rates is None:
        return Text("models: no rates before a second look at a gateway's metrics (--gateway-url)")
    table = _table("models", "model", "requests/s", "failed/s", "p50 ms", "p95 ms")
    for each in rates[:_MODELS_SHOWN]:
        failed = Text(f"{each.failed_per_s:.1f}", style="red" if each.failed_per_s else "")
        table.add_row(
            _text(each.model), f"{each.per_s:.1f}", failed, _ms(each.p50_s), _ms(each.p95_s)
        )
    return table


def _text(value: object, style: str = "") -> Text:
    """A name of somebody's, as it is: no markup, and nothing that a terminal obeys."""
    return Text(visible(str(value)), style=style)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f}"
