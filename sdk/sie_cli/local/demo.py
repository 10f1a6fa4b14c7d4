"""The demo: a private cluster in a temporary folder, the story on it, and what came of each step.

*shell.* Owns the folder and the cluster. Leaves nothing behind but the folder of a demo that
failed, which has the logs that its messages point at. A step that fails ends the story; the exit
status is 0 only when every step held.
"""

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import typer
from rich.console import Console

from sie_cli.access import state
from sie_cli.access.state import ClusterState
from sie_cli.local.story import STEPS, Stage
from sie_cli.plan.ports import free_ports
from sie_cli.plan.settings import ClusterOptions, ClusterSettings
from sie_cli.supervisor.cluster import run_cluster
from sie_schemas.errors import SIEError
from sie_sdk import SIEAsyncClient

__all__ = ["StepResult", "show_demo"]

_HTTP_TIMEOUT_S: Final = 60.0
"""A first answer loads a model."""
_START: Final = "cluster started"
_NEXT: Final = (
    ("sie up --bundle gliner", "workers for entities of any labels"),
    ("sie add urchade/gliner_small-v2.1 --replace", "one of their models, from the hub"),
    ("sie add openai/clip-vit-base-patch32 --replace", "texts and pictures in one space"),
)
"""No package brings these models, so the demo shows the lines that do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One step: whether it held, what it saw, how long it took."""

    step: str
    ok: bool
    took_s: float
    saw: dict[str, Any]


def show_demo(settings: ClusterSettings, *, as_json: bool) -> int:
    """Run the demo and print it; the exit status."""
    console = Console(stderr=as_json)
    started = time.monotonic()
    results: list[StepResult] = []

    def told(result: StepResult) -> None:
        results.append(result)
        _print_step(console, result)

    console.print("[bold]SIE demo[/bold]: a private cluster of real processes and real models")
    folder = Path(tempfile.mkdtemp(prefix="sie-demo-"))
    try:
        asyncio.run(
            _run(folder, settings, told, lambda line: console.print(f"  {line}", style="dim"))
        )
    finally:
        ok = len(results) == len(STEPS) + 1 and all(result.ok for result in results)
        if ok:
            shutil.rmtree(folder)
        else:
            console.print(f"its folder is kept, with the logs: {folder / 'logs'}", markup=False)
    took_s = round(time.monotonic() - started, 2)
    if as_json:
        steps = [asdict(result) for result in results]
        typer.echo(json.dumps({"ok": ok, "took_s": took_s, "steps": steps}, default=str))
    verdict = "[green]everything held[/green]" if ok else "[red]the demo FAILED[/red]"
    console.print(f"{verdict} in {took_s} s")
    if ok:
        console.print("\nNext, with models that are downloaded:")
        for command, what in _NEXT:
            console.print(f"  {command:<46}  {what}", markup=False, highlight=False)
    return 0 if ok else 1


async def _run(
    folder: Path,
    settings: ClusterSettings,
    told: Callable[[StepResult], None],
    say: Callable[[str], None],
) -> None:
    options = ClusterOptions(data=folder, port=free_ports(1, adjacent=2)[0], workers=1)
    stop, became_ready = asyncio.Event(), asyncio.Event()

    async def on_ready(_record: ClusterState) -> None:
        became_ready.set()

    cluster = asyncio.create_task(
        run_cluster(
            options,
            settings,
            stop=stop,
            kill=asyncio.Event(),
            say=say,
            on_ready=on_ready,
        )
    )
    waiting = asyncio.create_task(became_ready.wait())
    started = time.monotonic()
    try:
        # A cluster that fails to start never becomes ready: whichever comes first.
        await asyncio.wait({cluster, waiting}, return_when=asyncio.FIRST_COMPLETED)
        record = state.load(options.data)
        if became_ready.is_set() and record is not None:
            told(_done(_START, started, {"gateway": record.gateway_url}))
            await _tell(record, options.data, told)
    finally:
        stop.set()
        waiting.cancel()
        await _end(cluster, started, told)


async def _end(
    cluster: "asyncio.Task[None]", started: float, told: Callable[[StepResult], None]
) -> None:
    """Wait until everything is stopped; a cluster that failed is a step that failed."""
    try:
        await cluster
    except SIEError as error:
        told(_failed("cluster", started, error))


async def _tell(record: ClusterState, data: Path, told: Callable[[StepResult], None]) -> None:
    async with (
        SIEAsyncClient(record.gateway_url) as client,
        httpx.AsyncClient(timeout=_HTTP_TIMEOUT_S) as http,
    ):
        stage = Stage(
            data=data,
            gateway_url=record.gateway_url,
            config_url=record.config_url,
            client=client,
            http=http,
        )
        for name, step in STEPS:
            started = time.monotonic()
            try:
                saw = await step(stage)
            except (SIEError, httpx.HTTPError) as error:
                told(_failed(name, started, error))
                return
            told(_done(name, started, saw))


def _done(step: str, started: float, saw: dict[str, Any]) -> StepResult:
    return StepResult(step=step, ok=True, took_s=_since(started), saw=saw)


def _failed(step: str, started: float, error: Exception) -> StepResult:
    saw = {"error": str(error), "code": getattr(error, "code", "")}
    return StepResult(step=step, ok=False, took_s=_since(started), saw=saw)


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def _print_step(console: Console, result: StepResult) -> None:
    mark = "[green]ok[/green]  " if result.ok else "[red]FAIL[/red]"
    console.print(f"{mark} [bold]{result.step}[/bold] ({result.took_s:.2f} s)")
    for name, value in result.saw.items():
        console.print(f"       {name}: {value}", markup=False, highlight=False)
