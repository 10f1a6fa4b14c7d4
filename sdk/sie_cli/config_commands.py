"""The sub-commands for configuration: from `sie apply` to `sie audit`.

*main.* Each reads its options and calls the module that does the work, which is imported inside: a
command line must start fast. Exit statuses: 0 done, 1 it differs or has not converged, 2 the
request is at fault, 3 sie-config cannot be reached, 4 a conflict, 5 time ran out.
"""

import sys
from typing import Annotated, Literal, TypeAlias

import typer

__all__ = [
    "apply",
    "audit",
    "blame",
    "delete",
    "describe",
    "diff",
    "edit",
    "export",
    "get",
    "history",
    "import_",
    "replicas",
    "revert",
    "show",
    "wait",
    "watch",
]

Url: TypeAlias = Annotated[
    str,
    typer.Option(help="The address of sie-config; else SIE_CONFIG_URL, else the cluster in .sie."),
]
Output: TypeAlias = Annotated[
    Literal["table", "wide", "yaml", "json", "name"], typer.Option("-o", "--output")
]
Reason: TypeAlias = Annotated[str, typer.Option("-m", "--reason", help="Why: kept in the log.")]
Force: TypeAlias = Annotated[
    str, typer.Option(help="Why a gate is to let this pass: kept in the log.")
]
At: TypeAlias = Annotated[str, typer.Option(help="An epoch, or a time: 2026-01-31T12:00:00Z.")]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Say what would be.")]
Wait: TypeAlias = Annotated[bool, typer.Option("--wait", help="Until every replica has it.")]
Timeout: TypeAlias = Annotated[float, typer.Option(min=0, help="Seconds that --wait may take.")]
IfEpoch: TypeAlias = Annotated[int | None, typer.Option(help="The epoch the head must have.")]
KindName: TypeAlias = Annotated[str, typer.Argument(help="model, adapter, bundle or pool.")]
Name: TypeAlias = Annotated[str, typer.Argument(help="Its name; of an adapter: MODEL/NAME.")]


def apply(
    file: Annotated[str, typer.Option("-f", "--file", help="A file, a folder, or - for stdin.")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what the files leave out, of their kinds.")
    ] = False,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = 60.0,
    if_epoch: IfEpoch = None,
    reason: Reason = "",
    force: Force = "",
    output: Output = "table",
    url: Url = "",
) -> None:
    """Make the cluster hold what files say: one entry, or none where nothing differs."""
    from sie_cli.config_work import Ask, Work  # noqa: PLC0415 - see the module's docstring

    ask = Ask(reason, force, dry_run, wait, timeout, if_epoch)
    sys.exit(Work(url, output).run(lambda work: work.apply(file, ask, prune=prune)))


def diff(
    start: Annotated[str, typer.Argument(help="An epoch or a time.")] = "",
    end: Annotated[str, typer.Argument(help="Another; else now.")] = "",
    file: Annotated[str, typer.Option("-f", "--file", help="Compare files with now.")] = "",
    prune: Annotated[bool, typer.Option("--prune", help="As apply --prune would.")] = False,
    output: Output = "table",
    url: Url = "",
) -> None:
    """What differs between two moments, or between files and now; status 1 when anything does."""
    from sie_cli.config_work import Work  # noqa: PLC0415

    if bool(start) == bool(file):
        raise typer.BadParameter("give either one or two moments, or -f")
    work = Work(url, output)
    if file:
        sys.exit(work.run(lambda work: work.diff_files(file, prune=prune)))
    sys.exit(work.run(lambda work: work.diff(start, end)))


def get(
    kind: KindName,
    name: Annotated[str, typer.Argument()] = "",
    at: At = "",
    output: Output = "table",
    url: Url = "",
) -> None:
    """Show entities, now or at any moment."""
    from sie_cli.config_work import Work  # noqa: PLC0415

    sys.exit(Work(url, output).run(lambda work: work.get(kind, name, at)))


def describe(kind: KindName, name: Name, url: Url = "") -> None:
    """Show one entity with who made each of its fields, and its history."""
    from sie_cli.config_work import Work  # noqa: PLC0415

    sys.exit(Work(url, "yaml").run(lambda work: work.describe(kind, name)))


def edit(
    kind: KindName,
    name: Name,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = 60.0,
    if_epoch: IfEpoch = None,
    reason: Reason = "",
    force: Force = "",
    output: Output = "table",
    url: Url = "",
) -> None:
    """Change an entity in $VISUAL or $EDITOR; refused if somebody else changed it meanwhile."""
    from sie_cli.config_work import Ask, Work  # noqa: PLC0415

    ask = Ask(reason, force, dry_run, wait, timeout, if_epoch)
    sys.exit(Work(url, output).run(lambda work: work.edit(kind, name, ask)))


def delete(
    kind: KindName,
    name: Name,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = 60.0,
    if_epoch: IfEpoch = None,
    reason: Reason = "",
    force: Force = "",
    output: Output = "table",
    url: Url = "",
) -> None:
    """Remove an entity."""
    from sie_cli.config_work import Ask, Work  # noqa: PLC0415

    ask = Ask(reason, force, dry_run, wait, timeout, if_epoch)
    sys.exit(Work(url, output).run(lambda work: work.delete(kind, name, ask)))


def history(
    kind: Annotated[str, typer.Argument()] = "",
    name: Annotated[str, typer.Argument()] = "",
    number: Annotated[int, typer.Option("-n", min=1, help="How many, the newest.")] = 20,
    output: Output = "table",
    url: Url = "",
) -> None:
    """The changes of one entity, or of everything."""
    from sie_cli.config_work import Work  # noqa: PLC0415

    if bool(kind) != bool(name):
        raise typer.BadParameter("give a kind and a name, or neither")
    sys.exit(Work(url, output).run(lambda work: work.history(kind, name, number)))


def blame(kind: KindName, name: Name, at: At = "", output: Output = "table", url: Url = "") -> None:
    """For each field of an entity, the change that gave it its value."""
    from sie_cli.config_work import Work  # noqa: PLC0415

    sys.exit(Work(url, output).run(lambda work: work.blame(kind, name, at)))


def show(epoch: int, output: Output = "yaml", url: Url = "") -> None:
    """One entry of the log, and what it changed."""
    from sie_cli.config_work import Work  # noqa: PLC0415

    sys.exit(Work(url, output).run(lambda work: work.show(epoch)))


def revert(
    to: Annotated[str, typer.Argument(help="An epoch or a time.")],
    entities: Annotated[
        list[str] | None, typer.Argument(help="KIND/NAME …; else everything.")
    ] = None,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = 60.0,
    if_epoch: IfEpoch = None,
    reason: Reason = "",
    force: Force = "",
    output: Output = "table",
    url: Url = "",
) -> None:
    """Bring back the state of an older moment, as a new entry."""
    from sie_cli.config_work import Ask, Work  # noqa: PLC0415

    ask = Ask(reason, force, dry_run, wait, timeout, if_epoch)
    sys.exit(Work(url, output).run(lambda work: work.revert(to, entities or [], ask)))


def watch(
    start: Annotated[
        int | None, typer.Option("--from", min=0, help="Entries after this epoch; else from now.")
    ] = None,
    count: Annotated[int, typer.Option(min=0, help="End after so many; 0 goes on.")] = 0,
    output: Output = "table",
    url: Url = "",
) -> None:
    """Show changes as they are made."""
    from sie_cli.config_work import Work  # noqa: PLC0415

    sys.exit(Work(url, output).run(lambda work: work.watch(start, count)))


def replicas(output: Output = "table", url: Url = "") -> None:
    """Where each gateway and worker stands in the log."""
    from sie_cli.config_work import Work  # noqa: PLC0415

    sys.exit(Work(url, output).run(lambda work: work.replicas()))


def wait(
    epoch: Annotated[int | None, typer.Option(help="Else the head.")] = None,
    effective: Annotated[
        bool, typer.Option("--effective", help="Also: none fails to load what changed.")
    ] = False,
    role: Annotated[list[str] | None, typer.Option(help="gateway or worker; else both.")] = None,
    quorum: Annotated[int | None, typer.Option(min=1, help="How many are enough.")] = None,
    minimum: Annotated[int, typer.Option("--min", min=0, help="Fewer are not enough.")] = 1,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds.")] = 60.0,
    output: Output = "table",
    url: Url = "",
) -> None:
    """Wait until replicas are at an epoch, by their own word; status 5 when time runs out."""
    from sie_cli.config_work import Work  # noqa: PLC0415

    told = {
        "epoch": epoch,
        "until": "effective" if effective else "converged",
        "roles": role or [],
        "quorum": quorum,
        "replicas_min": minimum,
        "timeout_s": timeout,
    }
    sys.exit(Work(url, output).run(lambda work: work.wait(told)))


def export(
    file: Annotated[str, typer.Option("-f", "--file", help="Else stdout.")] = "-",
    at: At = "",
    output: Annotated[Literal["yaml", "json"], typer.Option("-o", "--output")] = "yaml",
    url: Url = "",
) -> None:
    """Write every document, as `sie apply` reads them."""
    from sie_cli.config_work import Work  # noqa: PLC0415

    sys.exit(Work(url, output).run(lambda work: work.export(file, at)))


def import_(
    file: Annotated[str, typer.Argument(help="What `sie export` wrote, or -.")],
    dry_run: DryRun = False,
    reason: Reason = "",
    force: Force = "",
    output: Output = "table",
    url: Url = "",
) -> None:
    """Make the cluster hold exactly what a file says, as one entry."""
    from sie_cli.config_work import Ask, Work  # noqa: PLC0415

    ask = Ask(reason or f"import {file}", force, dry_run)
    sys.exit(Work(url, output).run(lambda work: work.apply(file, ask, prune=True)))


def audit(
    actor: str = "",
    kind: str = "",
    name: str = "",
    outcome: Annotated[str, typer.Option(help="accepted, refused, or the code of a refusal.")] = "",
    since: Annotated[str, typer.Option(help="A time: 2026-01-31T12:00:00Z.")] = "",
    number: Annotated[int, typer.Option("-n", min=1, help="How many, the newest.")] = 50,
    output: Output = "table",
    url: Url = "",
) -> None:
    """What was changed and what was refused: who, when, why."""
    from sie_cli.config_work import Work  # noqa: PLC0415

    filters = {"actor": actor, "kind": kind, "key": name, "outcome": outcome, "since": since}
    sys.exit(Work(url, output).run(lambda work: work.audit(filters, number)))
