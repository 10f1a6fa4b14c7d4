"""The sub-commands for models by name: `add`, `inspect`, `models` and `catalog`.

*main.* Each reads its options and calls the work that it names, imported inside: a command line
must start fast. None of it needs torch.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sie_cli.config.config_options import ClusterFolder, ContextName, Output, Page, Url, command

if TYPE_CHECKING:
    from sie_cli.config.config_work import Ask, Work

__all__ = ["add", "catalog", "inspect", "models"]

Target = Annotated[str, typer.Argument(help="ORG/NAME on the hub, or a folder.")]
Revision = Annotated[str, typer.Option(help="A branch, tag or commit; else the newest.")]
Choice = Annotated[Literal["small", "all"], typer.Argument(help="A few, or all.")]


AdapterOf = Annotated[str, typer.Option(help="The model that a LoRA adapter is for.")]
Name = Annotated[str, typer.Option(help="The name it gets; else its own.")]
Task = Annotated[
    Literal["encode", "extract", "score"] | None,
    typer.Option(help="Its task, where its files do not say which of two."),
]
Template = Annotated[
    str, typer.Option(help="Of a decoder that judges pairs: the template's name or text.")
]
Token = Annotated[
    str, typer.Option(help="Of a private repository: the workers' secret for it, secret:NAME.")
]


@command
def add(
    work: "Work",
    ask: "Ask",
    target: Target,
    revision: Revision = "",
    adapter_of: AdapterOf = "",
    name: Name = "",
    task: Task = None,
    template: Template = "",
    token: Token = "",
    replaces: Annotated[
        bool, typer.Option("--replace", help="Also where the name is registered already.")
    ] = False,
) -> int:
    """Register a model or LoRA adapter from the hub or a folder; shows each fact and its file."""
    from sie_cli.models.adding import Wanted  # noqa: PLC0415 - see the module's docstring
    from sie_cli.models.adding import add as add_one  # noqa: PLC0415

    wanted = Wanted(target, revision, adapter_of, name, task, template, replaces, token)
    return add_one(work, ask, wanted)


def inspect(
    target: Target,
    revision: Revision = "",
    adapter_of: AdapterOf = "",
    name: Name = "",
    task: Task = None,
    template: Template = "",
    token: Token = "",
    output: Page = "table",
    url: Url = "",
    data: ClusterFolder = None,
    context: ContextName = "",
    document: Annotated[
        bool, typer.Option("--document", help="Print what `sie apply` takes, hashes included.")
    ] = False,
) -> None:
    """Show what a repository or folder holds and how it would run; writes nothing.

    An adapter is judged over its model, by the log of the cluster that is named or runs here.
    """
    from sie_cli.models.adding import Wanted, asked_work, print_document  # noqa: PLC0415
    from sie_cli.models.adding import inspect as inspect_one  # noqa: PLC0415
    from sie_cli.show.exit_statuses import exit_status, line_of  # noqa: PLC0415
    from sie_cli.show.printing import talk  # noqa: PLC0415
    from sie_schemas.errors import SIEError  # noqa: PLC0415

    wanted = Wanted(target, revision, adapter_of, name, task, template, token=token)
    try:
        if document:
            status = print_document(wanted, output)
        else:
            status = inspect_one(wanted, output, lambda: asked_work(url, data, context))
    except SIEError as error:
        talk(line_of(error))
        status = exit_status(error)
    sys.exit(status)


models = typer.Typer(
    help="Models by name: those of a cluster, and those that this release knows.",
    invoke_without_command=True,
)
catalog = typer.Typer(help="The published models that this release knows, and the log.")


@models.callback()
def list_models(
    called: typer.Context,
    output: Output = "table",
    url: Url = "",
    data: ClusterFolder = None,
    context: ContextName = "",
) -> None:
    """Models by name: those of a cluster, and those that this release knows."""
    if called.invoked_subcommand is None:
        _show("", output, url, data, context)


@models.command()
def search(
    words: Annotated[list[str], typer.Argument(help="Words that its line holds.")],
    output: Output = "table",
    url: Url = "",
    data: ClusterFolder = None,
    context: ContextName = "",
) -> None:
    """List the models that match: by name, output, family or state."""
    _show(" ".join(words), output, url, data, context)


@catalog.command("diff")
@command
def catalog_diff(work: "Work", choice: Choice = "all") -> int:
    """Show what this release offers that the log does not hold; status 1 where there is any."""
    from sie_cli.models.catalog_work import diff  # noqa: PLC0415

    return diff(work, choice)


@catalog.command("apply")
@command
def catalog_apply(work: "Work", ask: "Ask", choice: Choice = "all") -> int:
    """Write what this release offers, as one entry; what somebody edited stays."""
    from sie_cli.models.catalog_work import apply  # noqa: PLC0415

    return apply(work, ask, choice)


@catalog.command("adapters")
@command
def catalog_adapters(work: "Work", ask: "Ask") -> int:
    """Register the LoRA adapters that others published for models of this log, as one entry."""
    from sie_cli.models.catalog_work import adapters  # noqa: PLC0415

    return adapters(work, ask)


def _show(words: str, output: str, url: str, data: Path | None, context: str) -> None:
    """With a cluster where one is named or runs here; else the catalog alone."""
    from sie_cli.access.named_cluster import target_of  # noqa: PLC0415
    from sie_cli.config.config_work import run_work  # noqa: PLC0415
    from sie_cli.models.catalog_work import models as show_models  # noqa: PLC0415
    from sie_cli.show.printing import Form, talk  # noqa: PLC0415
    from sie_schemas.errors import SIEError  # noqa: PLC0415

    try:
        target_of(url, data, context)
    except SIEError as error:
        if url or data is not None or context:
            raise
        talk(f"only what this release knows: {error.message}")
        sys.exit(show_models(None, words, Form(output)))
    sys.exit(
        run_work(
            url,
            output,
            lambda work: show_models(work, words, work.form),
            data=data,
            context=context,
        )
    )
