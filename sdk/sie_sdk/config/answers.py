"""The meaning of an answer of sie-config, and the check that it is one.

*pure.* Promises that whatever answers at an address that is not sie-config's is an error that says
so and what to do. A gateway shows some of the configuration under the same paths, and a proxy or a
stranger answers to anything. Whether to send again is for `patience`.
"""

from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

from sie_schemas.errors import FixRequest, SIEError
from sie_sdk.refusals import read_json, says_why
from sie_sdk.wire.call import Call

__all__ = ["Listing", "read_config_answer"]

_Place = TypeVar("_Place", int, str)
_OF_A_GATEWAY: Final = "gateway-registry"
"""The `source` that a gateway puts on what it shows of its registry."""
_ROWS_MAX: Final = 1_000_000
"""Rows of one listing: ten times the models of the largest registry that was measured."""


class Listing(Generic[_Place]):
    """The rows of a listing, page by page. A stranger's pages that lead nowhere end it."""

    def __init__(self, name: str, after: _Place, url: str, *, leads: str = "next_after") -> None:
        """`leads` is the field of a page that leads to the next."""
        self._name = name
        self._leads = leads
        self._url = url
        self.after: _Place = after
        """The place behind which the next page begins."""
        self.rows: list[dict[str, Any]] = []

    def take(self, page: Mapping[str, Any]) -> bool:
        """Add a page; False where it is the last. Raises `FixRequest` for what is no page."""
        rows, place = page.get(self._name), page[self._leads]
        if not isinstance(rows, list):
            raise _not_ours(self._url, f"{self._name} are no list")
        self.rows += rows
        if place is None:
            return False
        # A stranger's page that led to itself was asked for without end, and every row was kept.
        if not rows or type(place) is not type(self.after) or place == self.after:
            raise _not_ours(self._url, f"a page of {self._name} leads to no other")
        if len(self.rows) > _ROWS_MAX:
            raise _not_ours(self._url, f"there are over {_ROWS_MAX} {self._name}")
        self.after = place
        return True


def read_config_answer(
    call: Call, status: int, headers: Mapping[str, str], content: bytes, url: str
) -> dict[str, Any]:
    """The decoded answer to a call. Raises the error that it tells, or that it is not ours."""
    try:
        answer = read_json(status, headers, content)
    except SIEError as error:
        if says_why(headers, content):
            raise
        if status >= 500:
            error.message = (
                f"{url} answers {status} and not as sie-config does: a proxy before it does not "
                "reach it, or it is another service"
            )
            raise
        raise _not_ours(url, error.message) from error
    if not isinstance(answer, dict):
        raise _not_ours(url, "the answer is no mapping")
    # A gateway shows some of the same below the same paths: at its address this was a KeyError.
    if _is_a_gateways(answer) and not _holds(answer, call.wants):
        raise FixRequest(
            f"{url} is a gateway, which shows some of the configuration: give the address of "
            "sie-config"
        )
    if not _holds(answer, call.wants):
        missing = next(name for name in call.wants if name not in answer)
        raise _not_ours(url, f"the answer to {call.path.partition('?')[0]} has no {missing!r}")
    return answer


def _holds(answer: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    return all(name in answer for name in names)


def _is_a_gateways(answer: Mapping[str, Any]) -> bool:
    listed = [each for rows in answer.values() if isinstance(rows, list) for each in rows]
    return any(
        isinstance(each, dict) and each.get("source") == _OF_A_GATEWAY for each in (answer, *listed)
    )


def _not_ours(url: str, why: str) -> SIEError:
    return FixRequest(
        f"{url} does not answer as sie-config does ({why}): give the address of sie-config"
    )
