"""Completion: the kinds, and the names of entities of the cluster that a command would go to.

*shell.* Asks sie-config for one page, and waits a moment at most. Promises that it never prints,
never fails and never guesses a cluster: where there is nothing to say it gives no name.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import typer

from sie_cli.config.kinds import ALL, KINDS, NAMES

__all__ = ["complete_context", "complete_kind", "complete_kind_or_all", "complete_name"]

_SHOWN_MAX: Final = 100
"""Names that a shell still lists without asking."""
_ANSWER_BYTES_MAX: Final = 16 * 1024**2
"""A page of a hundred names takes a thousandth of it."""
_WAIT_S: Final = 0.5
"""Whoever presses Tab goes on typing after that."""


def complete_kind(incomplete: str) -> list[str]:
    """The kinds that begin so, as people say them."""
    return [f"{kind}s" for kind in KINDS if f"{kind}s".startswith(incomplete.lower())]


def complete_kind_or_all(incomplete: str) -> list[str]:
    """The same, with the word for all of them."""
    return [*complete_kind(incomplete), *([ALL] if ALL.startswith(incomplete) else [])]


def complete_context(incomplete: str) -> list[str]:
    """The names of contexts that begin so."""
    from sie_cli.access.contexts import read_contexts  # noqa: PLC0415 - slow to import

    with suppress(Exception):
        return sorted(name for name in read_contexts().contexts if name.startswith(incomplete))
    return []


def complete_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names of entities of the kind on this line that begin so."""
    # An error here would stand in the middle of the line that somebody types.
    with suppress(Exception):
        return list(_names(ctx, incomplete))
    return []


def _names(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    from sie_cli.access.named_cluster import target_of  # noqa: PLC0415
    from sie_cli.config.config_rows import name_of  # noqa: PLC0415
    from sie_runtime.http.bounded_answers import ask  # noqa: PLC0415 - slow to import
    from sie_sdk.config.calls import headers_of, list_call  # noqa: PLC0415
    from sie_sdk.wire.transport import verify_of  # noqa: PLC0415

    kind = NAMES[str(ctx.params.get("kind") or "model")]
    data = ctx.params.get("data")
    target = target_of(
        str(ctx.params.get("url") or ""),
        Path(data) if data else None,
        str(ctx.params.get("context") or ""),
    )
    # A page holds what comes after its place: just before what was typed.
    after = incomplete[:-1] + chr(ord(incomplete[-1]) - 1) + "\uffff" if incomplete else ""
    call = list_call(kind, at=None, after=after, limit=_SHOWN_MAX)
    headers = headers_of(target.token, None, os.environ)
    # Not the SDK's client: it would try again, and a shell waits half a second at most.
    answer = ask(
        "GET",
        target.url + call.path,
        headers=headers,
        body_bytes_max=_ANSWER_BYTES_MAX,
        within_s=_WAIT_S,
        verify=verify_of(target.url, None),
    )
    for row in answer.raise_for_status().json()[f"{kind}s"]:
        name = name_of(kind, row)
        if name.startswith(incomplete):
            yield name
