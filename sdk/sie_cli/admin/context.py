"""`sie context`: clusters by name, and the one that commands are for.

*main.* Reads options and calls `contexts`, imported inside: a command line must start fast.
"""

from typing import Annotated, Any

import msgspec
import typer

from sie_cli.config.completing import complete_context
from sie_cli.config.config_options import Output

__all__ = ["app"]

app = typer.Typer(help="Clusters by name: add, use, list, remove.", no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(help="A name of your own for the cluster.", autocompletion=complete_context),
]
_COLUMNS = ("in_use", "name", "url", "token_file")


@app.command()
def add(
    name: Name,
    url: Annotated[str, typer.Option(help="The address of its sie-config.")],
    token_file: Annotated[
        str, typer.Option(help="The file that holds your token for it; else SIE_API_KEY.")
    ] = "",
    nats_url: Annotated[str, typer.Option(help="Its broker, for `sie dlq show --contents`.")] = "",
    output: Output = "table",
) -> None:
    """Name a cluster, or rename where a name leads. It is not in use before `sie context use`."""
    from sie_cli.access.contexts import (  # noqa: PLC0415 - see the module's docstring
        Context,
        read_contexts,
        token_of,
        write_contexts,
    )
    from sie_cli.show.printing import Form, print_told  # noqa: PLC0415
    from sie_schemas.errors import FixRequest, without_password  # noqa: PLC0415

    if not url.startswith(("http://", "https://")):
        raise FixRequest(f"--url {url!r} is no address: it begins with http:// or https://")
    if nats_url and not nats_url.startswith(("nats://", "tls://")):
        raise FixRequest(f"--nats-url {nats_url!r} is no address: it begins with nats:// or tls://")
    context = Context(url=url.rstrip("/"), token_file=token_file, nats_url=nats_url)
    for option, address in (("--url", url), ("--nats-url", nats_url)):
        if without_password(address) != address:
            raise FixRequest(
                f"{option} holds a user or a password, and a file would keep it: give a "
                "--token-file, or SIE_NATS_USER and SIE_NATS_PASSWORD for the broker"
            )
    # Read now, and given to nobody: a file that is not there would fail every later command.
    token_of(context)
    write_contexts(read_contexts().with_one(name, context))
    told = f"{name} is {context.url}; `sie context use {name}` has commands go there"
    print_told({"name": name, "url": context.url}, told, Form(output), name=name)


@app.command()
def use(name: Name, output: Output = "table") -> None:
    """Have commands go to this cluster, wherever they are run."""
    from sie_cli.access.contexts import read_contexts, write_contexts  # noqa: PLC0415
    from sie_cli.show.printing import Form, print_told  # noqa: PLC0415

    found = read_contexts()
    url = found.named(name).url
    write_contexts(msgspec.structs.replace(found, in_use=name))
    told = f"commands go to {name}, {url}"
    print_told({"name": name, "url": url}, told, Form(output), name=name)


@app.command("ls")
def list_(output: Output = "table") -> None:
    """List every context; the one in use is marked."""
    from sie_cli.access.contexts import read_contexts  # noqa: PLC0415
    from sie_cli.show.printing import Form, print_rows  # noqa: PLC0415

    found = read_contexts()
    rows: list[dict[str, Any]] = [
        {"in_use": "*" if name == found.in_use else "", "name": name}
        | {"url": each.url, "token_file": each.token_file or None}
        | {"nats_url": each.nats_url or None}
        for name, each in sorted(found.contexts.items())
    ]
    names = [row["name"] for row in rows]
    print_rows(rows, _COLUMNS, Form(output), more=["nats_url"], names=names)


@app.command()
def rm(name: Name, output: Output = "table") -> None:
    """Forget a context."""
    from sie_cli.access.contexts import read_contexts, write_contexts  # noqa: PLC0415
    from sie_cli.show.printing import Form, print_told  # noqa: PLC0415

    found = read_contexts()
    found.named(name)
    left = {each: context for each, context in found.contexts.items() if each != name}
    in_use = "" if found.in_use == name else found.in_use
    write_contexts(msgspec.structs.replace(found, contexts=left, in_use=in_use))
    told = f"{name} is forgotten" + ("; none is in use" if found.in_use == name else "")
    print_told({"name": name}, told, Form(output), name=name)
