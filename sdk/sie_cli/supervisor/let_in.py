"""The answer of a cluster with tokens to `sie up`, which has to come in as any operator does.

*pure.* Promises one line that names the variable, the role and the command that makes a token.
"""

from http import HTTPStatus

import msgspec

from sie_schemas.errors import FixRequest

__all__ = ["check_let_in", "said_code"]


def check_let_in(status: int, body: bytes, *, process: str, role: str) -> None:
    """Raises `FixRequest` where a process refused the token of `sie up`, or wants one."""
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        said = _said(body, "message", body.decode(errors="replace"))
        raise FixRequest(
            f"{process} refuses `sie up` ({int(status)}: {said}). Give it a token with "
            f"the role {role} in SIE_API_KEY: `sie token new NAME --file FILE --roles {role}` "
            "makes one",
            field="SIE_API_KEY",
        )


def said_code(body: bytes) -> str:
    """The code of a refusal; empty where the answer is none of this project's."""
    return _said(body, "code", "")


def _said(body: bytes, part: str, otherwise: str) -> str:
    try:
        return str(msgspec.json.decode(body)["detail"][part])
    except (ValueError, LookupError, TypeError):
        return otherwise
