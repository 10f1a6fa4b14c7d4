"""The options that many sub-commands take, each list written once.

*main.* A command names `work` among its parameters, and `ask` if it writes. On the command line the
options that make them stand in their place. What makes them is imported when a command runs: a
command line must start fast.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from sie_cli.config.completing import complete_context, complete_kind, complete_name

if TYPE_CHECKING:
    from sie_cli.config.config_work import Ask, Work

__all__ = [
    "At",
    "ClusterFolder",
    "ContextName",
    "KindName",
    "Name",
    "Output",
    "Page",
    "Url",
    "command",
]

Url: TypeAlias = Annotated[
    str,
    typer.Option(help="The address of sie-config; else SIE_CONFIG_URL, else the cluster in .sie."),
]
ContextName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--context",
        help="Or: a cluster by the name that `sie context` knows.",
        autocompletion=complete_context,
    ),
]
ClusterFolder: TypeAlias = Annotated[
    Path | None, typer.Option("--data", help="Or: the folder of a cluster of this machine.")
]
Output: TypeAlias = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        help="table, wide, yaml, json, name, jsonpath=PATH or custom-columns=HEAD:PATH,…",
    ),
]
Page: TypeAlias = Output
"""The same for a command that tells of one thing; its wider table is its table."""
At: TypeAlias = Annotated[
    str,
    typer.Option(help="An epoch, HEAD~1, 5m, yesterday, or a time: 2026-01-31T12:00:00Z."),
]
KindName: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="model, adapter, bundle or pool; m, a, b or p.", autocompletion=complete_kind
    ),
]
Name: TypeAlias = Annotated[
    str,
    typer.Argument(help="Its name; of an adapter: MODEL/NAME.", autocompletion=complete_name),
]


def _work(
    output: Output = "table",
    url: Url = "",
    data: ClusterFolder = None,
    context: ContextName = "",
) -> Callable[[Callable[["Work"], int]], int]:
    from sie_cli.config.config_work import run_work  # noqa: PLC0415 - see the module's docstring

    return partial(run_work, url, output, data=data, context=context)


def _ask(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until every replica has it.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds that --wait may take.")] = 60.0,
    if_epoch: Annotated[int | None, typer.Option(help="The epoch the head must have.")] = None,
    reason: Annotated[str, typer.Option("-m", "--reason", help="Why: kept in the log.")] = "",
    force: Annotated[
        str, typer.Option(help="Why a gate is to let this pass: kept in the log.")
    ] = "",
) -> "Ask":
    from sie_cli.config.config_work import Ask  # noqa: PLC0415 - see the module's docstring

    return Ask(reason, force, dry_run, wait, timeout, if_epoch)


_MAKERS: Final[Mapping[str, Callable[..., Any]]] = {"ask": _ask, "work": _work}


def command(function: Callable[..., int]) -> Callable[..., None]:
    """A sub-command around a function that gives its exit status.

    Its signature is the function's own; the options of `ask` and `work` follow in their place.
    """
    own = inspect.signature(function).parameters
    shared = {
        name: inspect.signature(maker).parameters for name, maker in _MAKERS.items() if name in own
    }
    parameters = [each for name, each in own.items() if name not in shared]
    parameters += [each for options in shared.values() for each in options.values()]

    def run(**given: Any) -> None:
        for name, options in shared.items():
            given[name] = _MAKERS[name](**{option: given.pop(option) for option in options})
        run_on = given.pop("work")
        sys.exit(run_on(lambda work: function(work=work, **given)))

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    # By keyword, since what has a default may stand before what has none.
    keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    vars(run)["__signature__"] = inspect.Signature(keywords)
    return run
