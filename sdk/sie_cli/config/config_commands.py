"""The sub-commands for configuration: from `sie apply` to `sie verify`.

*main.* Each reads its options and calls the work that it names. Exit statuses: 0 done, 1 it differs
or has not converged, 2 the request is at fault, 3 sie-config is away or not able now. And 4 a
conflict, 5 time ran out, 130 it was stopped.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from sie_cli.config.completing import complete_kind, complete_kind_or_all, complete_name
from sie_cli.config.config_options import At, KindName, Name, command

if TYPE_CHECKING:
    from sie_cli.config.config_work import Ask, Work
    from sie_cli.config.writes import Prune

__all__ = [
    "apply",
    "audit",
    "blame",
    "delete",
    "describe",
    "diff",
    "edit",
    "events",
    "export",
    "get",
    "history",
    "import_",
    "replicas",
    "revert",
    "show",
    "verify",
    "wait",
    "watch",
]

Keep = Annotated[
    list[str] | None,
    typer.Option(
        help="A kind that --prune leaves alone: it is kept elsewhere. Several: name each."
    ),
]


@command
def apply(
    work: "Work",
    ask: "Ask",
    file: Annotated[str, typer.Option("-f", "--file", help="A file, a folder, or - for stdin.")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what the files leave out, of every kind.")
    ] = False,
    keep: Keep = None,
) -> int:
    """Make the cluster hold what files say: one entry, or none where nothing differs."""
    from sie_cli.config import writes  # noqa: PLC0415 - slow to import

    return writes.apply(work, file, ask, _prune(prune, keep))


@command
def diff(
    work: "Work",
    start: Annotated[str, typer.Argument(help="An epoch, HEAD~1, 5m, yesterday, a time.")] = "",
    end: Annotated[str, typer.Argument(help="Another; else now.")] = "",
    file: Annotated[str, typer.Option("-f", "--file", help="Compare files with now.")] = "",
    prune: Annotated[bool, typer.Option("--prune", help="As apply --prune would.")] = False,
    keep: Keep = None,
) -> int:
    """Show what differs between two moments, or files and now; status 1 when anything does."""
    if bool(start) == bool(file):
        raise typer.BadParameter("give either one or two moments, or -f")
    from sie_cli.config import writes  # noqa: PLC0415 - slow to import

    if not file and (prune or keep):
        raise typer.BadParameter("--prune is for files: give -f")
    if file:
        return writes.diff_files(work, file, _prune(prune, keep))
    return writes.diff(work, start, end)


@command
def get(
    work: "Work",
    kind: Annotated[
        str,
        typer.Argument(
            help="model, adapter, bundle, pool (or m, a, b, p), or all.",
            autocompletion=complete_kind_or_all,
        ),
    ],
    name: Annotated[
        list[str] | None,
        typer.Argument(help="Names; else every one.", autocompletion=complete_name),
    ] = None,
    selector: Annotated[
        str,
        typer.Option(
            "-l",
            "--selector",
            help="By fields of the document: pool=default,source.type!=hub,tasks.score.",
        ),
    ] = "",
    at: At = "",
) -> int:
    """Show entities, now or at any moment."""
    from sie_cli.config import views  # noqa: PLC0415 - slow to import

    return views.get(work, kind, name or [], selector, at)


@command
def describe(work: "Work", kind: KindName, name: Name) -> int:
    """Show one entity with who made each of its fields, and its history."""
    from sie_cli.config import views  # noqa: PLC0415 - slow to import

    return views.describe(work, kind, name)


@command
def edit(work: "Work", ask: "Ask", kind: KindName, name: Name) -> int:
    """Change an entity in $VISUAL or $EDITOR; refused if somebody else changed it meanwhile."""
    from sie_cli.config import writes  # noqa: PLC0415 - slow to import

    return writes.edit(work, kind, name, ask)


@command
def delete(work: "Work", ask: "Ask", kind: KindName, name: Name) -> int:
    """Remove an entity."""
    from sie_cli.config import writes  # noqa: PLC0415 - slow to import

    return writes.delete(work, kind, name, ask)


@command
def history(
    work: "Work",
    kind: Annotated[str, typer.Argument(autocompletion=complete_kind)] = "",
    name: Annotated[str, typer.Argument(autocompletion=complete_name)] = "",
    number: Annotated[int, typer.Option("-n", min=1, help="How many, the newest.")] = 20,
    at: At = "",
) -> int:
    """The changes of one entity, or of everything, up to now or up to any moment."""
    if bool(kind) != bool(name):
        raise typer.BadParameter("give a kind and a name, or neither")
    from sie_cli.config import views  # noqa: PLC0415 - slow to import

    return views.history(work, kind, name, number, at)


@command
def blame(work: "Work", kind: KindName, name: Name, at: At = "") -> int:
    """For each field of an entity, the change that gave it its value."""
    from sie_cli.config import views  # noqa: PLC0415 - slow to import

    return views.blame(work, kind, name, at)


@command
def show(
    work: "Work",
    moment: Annotated[
        str, typer.Argument(metavar="EPOCH", help="An epoch, HEAD, HEAD~1, 5m, yesterday, a time.")
    ],
) -> int:
    """One entry of the log, and what it changed."""
    from sie_cli.config import views  # noqa: PLC0415 - slow to import

    return views.show(work, moment)


@command
def revert(
    work: "Work",
    ask: "Ask",
    to: Annotated[str, typer.Argument(help="An epoch, HEAD~1, 5m, yesterday, a time.")],
    entities: Annotated[
        list[str] | None, typer.Argument(help="KIND/NAME …; else everything.")
    ] = None,
) -> int:
    """Bring back the state of an older moment, as a new entry."""
    from sie_cli.config import writes  # noqa: PLC0415 - slow to import

    return writes.revert(work, to, entities or [], ask)


@command
def watch(
    work: "Work",
    start: Annotated[
        int | None, typer.Option("--from", min=0, help="Entries after this epoch; else from now.")
    ] = None,
    count: Annotated[int, typer.Option(min=0, help="End after so many; 0 goes on.")] = 0,
) -> int:
    """Show changes as they are made."""
    from sie_cli.config import views  # noqa: PLC0415 - slow to import

    return views.watch(work, start, count)


@command
def replicas(work: "Work") -> int:
    """Show the place of each gateway and worker in the log; status 1 unless all live ones agree."""
    from sie_cli.config import views  # noqa: PLC0415 - slow to import

    return views.replicas(work)


@command
def verify(work: "Work") -> int:
    """Have sie-config fold its log anew, and a replica count what it serves; status 1 if amiss."""
    from sie_cli.config import views  # noqa: PLC0415 - slow to import

    return views.verify(work)


@command
def wait(
    work: "Work",
    epoch: Annotated[int | None, typer.Option(help="Else the head.")] = None,
    effective: Annotated[
        bool, typer.Option("--effective", help="Also: none fails to load what changed.")
    ] = False,
    role: Annotated[list[str] | None, typer.Option(help="gateway or worker; else both.")] = None,
    replica: Annotated[list[str] | None, typer.Option("--id", help="A replica; else all.")] = None,
    quorum: Annotated[int | None, typer.Option(min=1, help="How many are enough.")] = None,
    minimum: Annotated[int, typer.Option("--min", min=0, help="Fewer are not enough.")] = 1,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds.")] = 60.0,
) -> int:
    """Wait until replicas are at an epoch, by their own word; status 5 when time runs out."""
    told = {
        "epoch": epoch,
        "until": "effective" if effective else "converged",
        "roles": role or [],
        "ids": replica or [],
        "quorum": quorum,
        "replicas_min": minimum,
        "timeout_s": timeout,
    }
    from sie_cli.config import writes  # noqa: PLC0415 - slow to import

    return writes.wait(work, told)


@command
def export(
    work: "Work",
    file: Annotated[str, typer.Option("-f", "--file", help="Else stdout.")] = "-",
    at: At = "",
) -> int:
    """Write every document, as `sie apply` reads them: YAML, or JSON with -o json."""
    from sie_cli.config import writes  # noqa: PLC0415 - slow to import

    return writes.export(work, file, at)


@command
def import_(
    work: "Work",
    ask: "Ask",
    file: Annotated[str, typer.Argument(help="What `sie export` wrote, or -.")],
) -> int:
    """Make the cluster hold exactly what a file says, as one entry."""
    from sie_cli.config import writes  # noqa: PLC0415 - slow to import

    return writes.import_(work, file, ask)


@command
def audit(
    work: "Work",
    actor: str = "",
    kind: str = "",
    name: str = "",
    outcome: Annotated[str, typer.Option(help="accepted, refused, or the code of a refusal.")] = "",
    since: Annotated[
        str, typer.Option(help="From this time on: 1h, yesterday, 2026-01-31T12:00:00Z.")
    ] = "",
    until: Annotated[str, typer.Option(help="Before this time.")] = "",
    number: Annotated[int, typer.Option("-n", min=1, help="How many, the newest.")] = 50,
) -> int:
    """List what was changed and what was refused: who, when, why."""
    asked = {"actor": actor, "kind": kind, "key": name, "outcome": outcome}
    from sie_cli.config import views  # noqa: PLC0415 - slow to import

    return views.audit(work, asked | {"since": since, "before": until}, number)


@command
def events(
    work: "Work",
    number: Annotated[int, typer.Option("-n", min=1, help="How many, the newest.")] = 20,
    since: Annotated[str, typer.Option(help="From this time on: 5m, yesterday, a time.")] = "",
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with what happens.")
    ] = False,
) -> int:
    """Show what happened: changes, refusals, and what replicas met; with -f as it happens."""
    from sie_cli.config.events import show_events  # noqa: PLC0415 - slow to import

    return show_events(work, number, since, follows=follow)


def _prune(prunes: bool, keep: list[str] | None) -> "Prune | None":
    from sie_cli.config.writes import Prune  # noqa: PLC0415 - slow to import

    if keep and not prunes:
        raise typer.BadParameter("--keep says what --prune leaves alone: give --prune too")
    return Prune(keep or ()) if prunes else None
