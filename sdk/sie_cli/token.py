"""`sie token`: makes and takes back the bearer tokens of a cluster.

*main.* Owns the file of hashes that `--auth-file` of gateway and sie-config names; running
processes see a change within a second. Promises that a token is shown once and never stored, and
that a reader never sees half a file.
"""

import os
import secrets
from pathlib import Path
from typing import Annotated, get_args

import msgspec
import typer

from sie_runtime.access import Grant, Role, Tokens, hash_of
from sie_schemas.errors import FixRequest
from sie_schemas.malformed import MALFORMED

__all__ = ["app"]

app = typer.Typer(help="Bearer tokens: make, list, take back.")

File = Annotated[Path, typer.Option("--file", help="The file of hashes.")]
Name = Annotated[str, typer.Argument(help="Whose token it is; the actor of its changes.")]


@app.command()
def new(
    name: Name,
    file: File,
    roles: Annotated[str, typer.Option(help="Comma list: infer, read, propose, admin, audit.")],
    tenant: Annotated[str, typer.Option(help="Whose share of the cluster it uses.")] = "",
) -> None:
    """Make a token and print it, once."""
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
    grant = Grant(name=name, sha256=hash_of(token.encode()), roles=granted, tenant=tenant)
    _write(file, Tokens(tokens=(*held.tokens, grant)))
    typer.echo(token)


@app.command("ls")
def list_(file: File) -> None:
    """List whose tokens there are."""
    for grant in _read(file).tokens:
        tenant = f"  tenant {grant.tenant}" if grant.tenant else ""
        typer.echo(f"{grant.name}  {','.join(grant.roles)}{tenant}")


@app.command()
def revoke(name: Name, file: File) -> None:
    """Take a token back."""
    held = _read(file).tokens
    kept = tuple(grant for grant in held if grant.name != name)
    if len(kept) == len(held):
        raise FixRequest(f"{file} has no token {name!r}", code="NOT_FOUND")
    _write(file, Tokens(tokens=kept))
    typer.echo(f"revoked {name}")


def _read(file: Path) -> Tokens:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Tokens)
    except FileNotFoundError:
        return Tokens(tokens=())
    except MALFORMED as error:
        raise FixRequest(f"{file} is not a file of tokens: {error}") from error


def _write(file: Path, tokens: Tokens) -> None:
    """Replace the file. A crash here leaves the old one."""
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        written.write(msgspec.json.format(msgspec.json.encode(tokens)) + b"\n")
        written.flush()
        os.fsync(written.fileno())
    os.replace(fresh, file)
