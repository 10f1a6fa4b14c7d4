"""`sie log`: the life of a log file, for operators and for CI.

*main.* Each command reads its options, calls the module of `sie_config.offline` that does the work,
and prints what came of it. It ends with a status: 0 sound, 1 damaged or different, 2 a wrong
request, 3 somebody or something is busy or cannot be reached. Imports are inside: a command line
must start fast.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from sie_cli.config.config_options import Page
from sie_schemas.errors import FixRequest, Later, SIEError

if TYPE_CHECKING:
    from sie_config.offline.findings import Report
    from sie_runtime.broker.bus import BusSettings

__all__ = ["app"]

T = TypeVar("T")

app = typer.Typer(
    name="log",
    help="Verify, back up, restore, compact, write out, examine and replay the configuration log.",
    no_args_is_help=True,
)

Log = Annotated[Path, typer.Argument(help="sie-config's data folder, or a log file.")]
NatsUrl = Annotated[
    str,
    typer.Option(
        help="The broker, to look at the stream. Its user and password: SIE_NATS_USER, "
        "SIE_NATS_PASSWORD."
    ),
]
Url = Annotated[
    str,
    typer.Option(
        help="The sie-config that writes this log; else that of a cluster of this machine whose "
        "log it is, else SIE_CONFIG_URL."
    ),
]

_HERE = Path(".sie/config")


@app.callback()
def private() -> None:
    """Whatever is written of a log, by us or by SQLite, is for its writer's user only."""
    os.umask(os.umask(0o077) | 0o077)


@app.command()
def verify(
    log: Log = _HERE,
    export: Annotated[
        Path | None, typer.Option(help="A snapshot file (of GET /v1/configs/export) to verify too.")
    ] = None,
    nats_url: NatsUrl = "",
    output: Page = "table",
) -> None:
    """Check every byte, link and digest, the keys and the head file; name the first bad epoch."""

    def run() -> "Report":
        import asyncio  # noqa: PLC0415

        from sie_config.offline.log_reader import log_path  # noqa: PLC0415
        from sie_config.offline.others import verify_export, verify_stream  # noqa: PLC0415
        from sie_config.offline.verification import verify_log  # noqa: PLC0415

        path = log_path(log)
        report = verify_log(path, every_signature=True).report
        if export is not None:
            verify_export(export, report, path)
        if nats_url and report.position is not None:
            asyncio.run(verify_stream(_bus(nats_url), path, report.position, report))
        return report

    _conclude(run, output)


@app.command("verify-export")
def verify_export_alone(
    export: Annotated[Path, typer.Argument(help="A snapshot file.")], output: Page = "table"
) -> None:
    """Check a snapshot on its own: its entities have the digest that its entry names."""

    def run() -> "Report":
        from sie_config.offline.findings import Report  # noqa: PLC0415
        from sie_config.offline.others import verify_export  # noqa: PLC0415

        report = Report()
        report.position = verify_export(export, report, None)
        return report

    _conclude(run, output)


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="A file, or a folder for one named by position.")],
    log: Log = _HERE,
    output: Page = "table",
) -> None:
    """Copy the log, also beside a running writer; verify the copy; write a manifest beside it."""

    def run() -> "Report":
        from sie_config.offline.backup import back_up  # noqa: PLC0415
        from sie_config.offline.log_reader import log_path  # noqa: PLC0415

        return back_up(log_path(log), target)[1]

    _conclude(run, output)


@app.command()
def restore(
    backup: Annotated[Path, typer.Argument(help="A backup with its manifest beside it.")],
    folder: Annotated[Path, typer.Argument(help="A data folder that has no log.")] = _HERE,
    nats_url: NatsUrl = "",
    discard_after: Annotated[
        int | None, typer.Option(help="Give up every entry after this epoch; begins a new log.")
    ] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Let sie-config ask replicas for what is missing.")
    ] = False,
    actor: Annotated[str, typer.Option(help="Who discards, for the log.")] = "operator",
    reason: Annotated[str, typer.Option(help="Why, for the log.")] = "restored from a backup",
    output: Page = "table",
) -> None:
    """Make a backup the log of a folder; refuses to lose entries that somebody has seen."""

    def run() -> "Report":
        from sie_config.offline.restore import Discard  # noqa: PLC0415
        from sie_config.offline.restore import restore as put_back  # noqa: PLC0415

        discard = Discard(discard_after, actor, reason) if discard_after is not None else None
        bus = _bus(nats_url) if nats_url else None
        return put_back(backup, folder, bus=bus, discard=discard, incomplete=incomplete)

    _conclude(run, output)


KeyFile = Annotated[
    Path | None, typer.Option(help="The private key's file, if not log.sqlite.key beside the log.")
]


@app.command()
def adopt(
    log: Log = _HERE,
    key: KeyFile = None,
    nats_url: NatsUrl = "",
    actor: Annotated[str, typer.Option(help="Who adopts it, for the log.")] = "operator",
    reason: Annotated[str, typer.Option(help="Why, for the log.")] = "signed from now on",
    output: Page = "table",
) -> None:
    """Sign a log that a release before signatures wrote; sie-config must be stopped."""

    def run() -> "Report":
        from sie_config.offline.keys import adopt as sign  # noqa: PLC0415
        from sie_config.offline.log_reader import log_path  # noqa: PLC0415

        bus = _bus(nats_url) if nats_url else None
        return sign(log_path(log), key_file=key, bus=bus, actor=actor, reason=reason)

    _conclude(run, output)


@app.command("change-key")
def change_key(
    log: Log = _HERE,
    key: KeyFile = None,
    actor: Annotated[str, typer.Option(help="Who changes it, for the log.")] = "operator",
    reason: Annotated[str, typer.Option(help="Why, for the log.")] = "the key was changed",
    output: Page = "table",
) -> None:
    """Have a new key sign the log from now on; sie-config must be stopped."""

    def run() -> "Report":
        from sie_config.offline.keys import change_key as change  # noqa: PLC0415
        from sie_config.offline.log_reader import log_path  # noqa: PLC0415

        return change(log_path(log), key_file=key, actor=actor, reason=reason)

    _conclude(run, output)


@app.command()
def compact(
    log: Log = _HERE,
    keep: Annotated[int | None, typer.Option(help="How many newest entries stay deltas.")] = None,
    low_water: Annotated[int | None, typer.Option(help="Or: the oldest epoch served.")] = None,
    url: Url = "",
    output: Page = "table",
) -> None:
    """Move the low water and trim the stream; the history stays, all of it."""

    def run() -> dict[str, Any]:
        from sie_config.offline.compaction import compact as move  # noqa: PLC0415
        from sie_config.offline.log_reader import log_path  # noqa: PLC0415

        return move(log_path(log), _writer(log_path(log), url), keep=keep, low_water=low_water)

    found = _guarded(run)
    lines = [f"deltas from epoch {found['low_water']} on; the head is {found['head']}"]
    if not found["trimmed"]:
        lines.append("the stream is trimmed when sie-config next looks at it")
    _print(found, lines, output)


@app.command()
def entries(
    target: Annotated[Path, typer.Argument(help="The file to write; - is stdout.")],
    log: Log = _HERE,
    output: Page = "table",
) -> None:
    """Write every entry as NDJSON, below the low water too; `sie simulate --log` reads it."""

    def run() -> "Report":
        from sie_config.offline.entries_file import write_entries  # noqa: PLC0415
        from sie_config.offline.log_reader import log_path  # noqa: PLC0415

        pipe = str(target) == "-"
        return write_entries(log_path(log), sys.stdout.buffer if pipe else target)

    _conclude(run, output, data_on_stdout=str(target) == "-")


@app.command()
def doctor(log: Log = _HERE, url: Url = "", nats_url: NatsUrl = "", output: Page = "table") -> None:
    """Examine the log and all that stands around it; each line with its cure."""

    def run() -> "Report":
        from sie_config.offline.doctor import examine  # noqa: PLC0415
        from sie_config.offline.log_reader import log_path  # noqa: PLC0415

        path = log_path(log)
        bus = _bus(nats_url) if nats_url else _local_bus(path)
        return examine(path, url=_writer(path, url), bus=bus)

    _conclude(run, output)


@app.command()
def replay(
    log: Log = _HERE,
    to: Annotated[
        int | None, typer.Option(min=1, help="The epoch to stop at; the head by default.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare the digest after every entry.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the snapshot of that epoch here.")] = None,
    output: Page = "table",
) -> None:
    """Replay the log to an epoch and tell the digest of the registry there."""

    def run() -> "Report":
        from sie_cli.show.progress import progress  # noqa: PLC0415
        from sie_config.offline.log_reader import log_path  # noqa: PLC0415
        from sie_config.offline.replaying import replay_to  # noqa: PLC0415

        with progress("replaying") as told:
            return replay_to(
                log_path(log), to, verify=verify, out=out, told=lambda at: told(at, to or 0)
            )

    _conclude(run, output)


def _writer(log: Path, url: str) -> str:
    """The address of a log's writer; empty where nobody said it and no record does."""
    from sie_cli.access import state  # noqa: PLC0415
    from sie_cli.access.named_cluster import is_alive  # noqa: PLC0415

    if url:
        return url.rstrip("/")
    # A local cluster keeps its log in `config/` of its folder.
    record = state.load(log.absolute().parent.parent)
    if record is not None and is_alive(record, "config"):
        return record.config_url
    return os.environ.get("SIE_CONFIG_URL", "").rstrip("/")


def _bus(url: str) -> "BusSettings":
    from sie_cli.access.operator_access import broker_access  # noqa: PLC0415

    return broker_access(Path(), url, os.environ)


def _local_bus(log: Path) -> "BusSettings | None":
    """The broker of the cluster of this machine whose log it is; None where none runs."""
    from sie_cli.access import state  # noqa: PLC0415
    from sie_cli.access.named_cluster import is_alive  # noqa: PLC0415
    from sie_cli.access.operator_access import broker_access  # noqa: PLC0415

    data = log.absolute().parent.parent
    record = state.load(data)
    if record is None or not is_alive(record, "nats"):
        return None
    return broker_access(data, "", os.environ)


def _conclude(
    run: Callable[[], "Report"], output: str, *, data_on_stdout: bool = False
) -> NoReturn:
    report = _guarded(run)
    lines: list[str] = []
    for finding in report.findings:
        lines.append(f"{finding.state:<5} {finding.what:<11} {finding.message}")
        if finding.cure:
            lines.append(f"{'':<17} → {finding.cure}")
    if report.first_bad_epoch is not None:
        lines.append(f"the first bad epoch is {report.first_bad_epoch}")
    if data_on_stdout:
        _talk("\n".join(lines))
    else:
        _print(report.to_builtins(), lines, output)
    sys.exit(0 if report.sound else 1)


def _print(whole: dict[str, Any], lines: Sequence[str], output: str) -> None:
    from sie_cli.show.printing import Form, print_lines, print_value  # noqa: PLC0415

    form = Form(output)
    if form.is_whole:
        print_value(whole, form)
    else:
        print_lines(lines)


def _talk(text: str) -> None:
    from sie_cli.show.printing import talk  # noqa: PLC0415

    talk(text)


def _guarded(run: Callable[[], T]) -> T:
    try:
        return run()
    except SIEError as error:
        _talk(f"sie: {error.message}")
        sys.exit(_status_of(error))
    except BrokenPipeError:
        # Whoever read from us has enough: typer ends the process without a word.
        raise
    except OSError as error:
        from sie_cli.show.exit_statuses import line_of_os  # noqa: PLC0415

        _talk(line_of_os(error))
        sys.exit(3)


def _status_of(error: SIEError) -> int:
    match error:
        case FixRequest():
            return 2
        case Later():
            return 3
        case _:
            return 1
