"""`sie token`: makes and takes back the bearer tokens of a cluster.

*main.* Owns the file of hashes that `--auth-file` of gateway and sie-config names; running
processes see a change within a second. Promises that a token is shown once and never stored, and
that a reader never sees half a file.
"""

import secrets
from pathlib import Path
from typing import Annotated, get_args

import msgspec
import typer

from sie_cli.access.private_files import write_private
from sie_cli.config.config_options import Output
from sie_runtime.access.access import Grant, Role, Tokens, check_grant, hash_of, read_tokens
from sie_schemas.errors import FixRequest

__all__ = ["app"]

app = typer.Typer(help="Bearer tokens: make, list, take back.")

File = Annotated[Path, typer.Option("--file", help="The file of hashes.")]
Name = Annotated[str, typer.Argument(help="Whose token it is; the actor of its changes.")]


@app.command()
def new(
    name: Name,
    file: File,
    roles: Annotated[
        str, typer.Option(help="Comma list: infer, read, metrics, propose, report, admin, audit.")
    ],
    tenant: Annotated[str, typer.Option(help="Whose share of the cluster it uses.")] = "",
    replica: Annotated[
        str,
        typer.Option(
            help="With `report`: the replica that it is, as gateway/ID or worker/ID; an ID that "
            "ends in * is each that begins so."
        ),
    ] = "",
    output: Output = "table",
) -> None:
    """Make a token and print it, once."""
    from sie_cli.show.printing import Form, print_told  # noqa: PLC0415 - slow to import

    form = Form(output)
    asked = tuple(part.strip() for part in roles.split(",") if part.strip())
    unknown = sorted(set(asked) - set(get_args(Role)))
    if unknown or not asked:
        raise FixRequest(
            f"{', '.join(unknown) or 'nothing'} is no role: {', '.join(get_args(Role))}"
        )
    held = _read(file)
    if any(grant.name == name for grant in held.tokens):
        raise FixRequest(f"{file} has a token {name!r} already: revoke it first")
    token = "sie_" + secrets.token_urlsafe(32)
    granted: tuple[Role, ...] = tuple(role for role in get_args(Role) if role in asked)
    grant = Grant(
        name=name, sha256=hash_of(token.encode()), roles=granted, tenant=tenant, replica=replica
    )
    check_grant(grant, "--replica")
    _write(file, Tokens(tokens=(*held.tokens, grant)))
    print_told({"name": name, "token": token}, token, form)


@app.command("ls")
def list_(file: File, output: Output = "table") -> None:
    """List whose tokens there are."""
    from sie_cli.show.printing import Form, print_rows  # noqa: PLC0415 - slow to import

    grants = _read(file).tokens
    rows = [
        {
            "name": grant.name,
            "roles": list(grant.roles),
            "tenant": grant.tenant or None,
            "replica": grant.replica or None,
        }
        for grant in grants
    ]
    names = [grant.name for grant in grants]
    print_rows(rows, ["name", "roles", "tenant", "replica"], Form(output), names=names)


@app.command()
def revoke(name: Name, file: File, output: Output = "table") -> None:
    """Take a token back."""
    from sie_cli.show.printing import Form, print_told  # noqa: PLC0415 - slow to import

    form = Form(output)
    held = _read(file).tokens
    kept = tuple(grant for grant in held if grant.name != name)
    if len(kept) == len(held):
        raise FixRequest(f"{file} has no token {name!r}", code="NOT_FOUND")
    _write(file, Tokens(tokens=kept))
    print_told({"name": name}, f"revoked {name}", form, name=name)


def _read(file: Path) -> Tokens:
    return read_tokens(file) if file.exists() else Tokens(tokens=())


def _write(file: Path, tokens: Tokens) -> None:
    write_private(file, msgspec.json.format(msgspec.json.encode(tokens)) + b"\n")
