"""`sie context`: clusters by name, and the one that commands are for.

*main.* Reads options and calls `contexts`, imported inside: a command line must start fast.
"""

from typing import Annotated, Any

import msgspec
import typer

from sie_cli.config.config_options import Output

__all__ = ["app"]

app = typer.Typer(help="Clusters by name: add, use, list, remove.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A name of your own for the cluster.")]


@app.command()
def add(
    name: Name,
    url: Annotated[str, typer.Option(help="The address of its sie-config.")],
    token_file: Annotated[
        str, typer.Option(help="The file that holds your token for it; else SIE_API_KEY.")
    ] = "",
) -> None:
    """Name a cluster, or rename where a name leads. It is not in use before `sie context use`."""
    from sie_cli.access.contexts import (  # noqa: PLC0415 - see the module's docstring
        Context,
        read_contexts,
        token_of,
        write_contexts,
    )
    from sie_schemas.errors import FixRequest  # noqa: PLC0415

    if not url.startswith(("http://", "https://")):
        raise FixRequest(f"--url {url!r} is no address: it begins with http:// or https://")
    context = Context(url=url.rstrip("/"), token_file=token_file)
    token_of(context)
    write_contexts(read_contexts().with_one(name, context))
    typer.echo(f"{name} is {context.url}; `sie context use {name}` has commands go there")


@app.command()
def use(name: Name) -> None:
    """Have commands go to this cluster, wherever they are run."""
    from sie_cli.access.contexts import read_contexts, write_contexts  # noqa: PLC0415

    found = read_contexts()
    url = found.named(name).url
    write_contexts(msgspec.structs.replace(found, in_use=name))
    typer.echo(f"commands go to {name}, {url}")


@app.command("ls")
def list_(output: Output = "table") -> None:
    """List every context; the one in use is marked."""
    from sie_cli.access.contexts import read_contexts  # noqa: PLC0415
    from sie_cli.show.printing import Form, print_rows  # noqa: PLC0415

    found = read_contexts()
    rows: list[dict[str, Any]] = [
        {"in_use": "*" if name == found.in_use else "", "name": name}
        | {"url": each.url, "token_file": each.token_file or None}
        for name, each in sorted(found.contexts.items())
    ]
    names = [row["name"] for row in rows]
    print_rows(rows, ["in_use", "name", "url", "token_file"], Form(output), names=names)


@app.command()
def rm(name: Name) -> None:
    """Forget a context."""
    from sie_cli.access.contexts import read_contexts, write_contexts  # noqa: PLC0415

    found = read_contexts()
    found.named(name)
    left = {each: context for each, context in found.contexts.items() if each != name}
    in_use = "" if found.in_use == name else found.in_use
    write_contexts(msgspec.structs.replace(found, contexts=left, in_use=in_use))
    typer.echo(f"{name} is forgotten" + ("; none is in use" if found.in_use == name else ""))
