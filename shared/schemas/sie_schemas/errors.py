"""Errors: one root, five branches named for what the catcher does, one table of codes.

*types.* The gateway answers by this table, the worker reports by it, the SDK retries by it. A code
is stable; a message says what failed, on what, and what to do. No message has the password of an
address in it, nor a character that a terminal would obey. Neither a message nor a list of problems
is longer than a bound, since it may repeat what was sent. An object in `details` is whole: a
program acts on it.
"""

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

__all__ = [
    "CODES",
    "CodeRule",
    "FixRequest",
    "Later",
    "OurFault",
    "SIEError",
    "TimeRanOut",
    "Untrusted",
    "error_for",
    "escaped",
    "invalid_field",
    "visible",
    "without_password",
]

_USER: Final = re.compile(
    r"""(?<=://)(?:
      [^/?#\s"<>]+@
    | [^/?#\s"<>:@\[]*:(?!\d{1,5}(?:[/?#\s,;)'\]}|]|$))(?:(?!://)[^\s"<>@]){1,256}@(?:[^/?#\s"<>]*@)?
    )""",
    re.VERBOSE,
)
"""RFC 3986: the user's part of an address holds no slash. It ends at the last @: passwords with one
are not written as they should be, and are read all the same. So is one with a slash, `?` or `#`,
where what follows the colon is no port. Of that 256 characters are read at most, so that many such
beginnings in one text cost no square of it."""


_MESSAGE_MAX: Final = 16_384
"""Characters of a message: two hundred lines. A name of six megabytes was said back three times."""
_MESSAGE_END: Final = 1024
"""Of those, the last ones: what to do stands there."""
_PROBLEM_MAX: Final = 1024
"""Characters of a text in a list of problems: ten lines. A field's name of 900 kB came back."""
_PROBLEM_END: Final = 256
"""Of those, the last ones: the nearest right name stands there."""
_MORE_MAX: Final = 64
"""Characters of the last problem, which says how many more there were."""
_CUT: Final = " […] "
_FIELD_MAX: Final = 256
"""Characters of a field's path; ours have thirty."""
_REPEATS: Final = frozenset({"path", "message"})
"""The parts of a problem that repeat what was sent. A program may find an item by the others."""
_JOINER: Final = "\u200d"
"""Joins emoji to one picture, and does nothing else."""


def without_password(text: str) -> str:
    """The same text, in which no address has a user or a password.

    People paste addresses with their password, and what repeats one stands in a log, an audit or a
    terminal for years. Errors, log lines and lines of commands go through here.
    """
    # Most texts hold no address: the pattern is not run on them.
    if "://" not in text or "@" not in text:
        return text
    return _USER.sub("", text)


def escaped(text: str, code: Callable[[str], str], kept: str = "") -> str:
    """A text without characters that a terminal would obey: `code` gives what is written for each.

    A name or a reason is anybody's. It may hold the end of a line, a colour, or a mark that turns
    the text around. A terminal would then show something else than what is stored. `kept` are
    characters that stay.
    """
    if text.isprintable():
        return text
    stays = {*kept, _JOINER}
    return "".join(each if each.isprintable() or each in stays else code(each) for each in text)


def visible(text: str, kept: str = "") -> str:
    """The same text, in which such characters stand as Python quotes them: `\\x1b`, `\\u202e`."""
    return escaped(text, lambda each: repr(each)[1:-1], kept)


def _told(text: str, most: int, end: int) -> str:
    """A text as an error tells it. It is cut first, so that no more is looked at than may stay."""
    cut = _shortened(text, most, end)
    return _shortened(visible(cut, kept="\n"), most, end)


def _shortened(text: str, most: int, end: int) -> str:
    if len(text) <= most:
        return text
    # With the mark it is as long as it may be: it is not cut again by whoever hands it on.
    return f"{text[: most - end - len(_CUT)]}{_CUT}{text[-end:]}"


def _shortened_problems(details: Any) -> Any:
    if not isinstance(details, list):
        return details
    problems = [_with_short_texts(each) for each in details]
    if not all(isinstance(each, dict) and "path" in each for each in problems):
        # Of items there are no more than the gateway tells, and each has a form of its own.
        return problems
    ends = list(accumulate(len(str(each)) for each in problems))
    if not ends or ends[-1] <= _MESSAGE_MAX:
        return problems
    kept = max(1, bisect_right(ends, _MESSAGE_MAX - _MORE_MAX))
    return [*problems[:kept], {"path": "…", "message": f"and {len(problems) - kept} more"}]


def _with_short_texts(part: Any) -> Any:
    match part:
        case str():
            return _shortened(part, _PROBLEM_MAX, _PROBLEM_END)
        case dict():
            return {
                name: _told(each, _PROBLEM_MAX, _PROBLEM_END)
                if name in _REPEATS and isinstance(each, str)
                else _with_short_texts(each)
                for name, each in part.items()
            }
        case list():
            return [_with_short_texts(each) for each in part]
    return part


def _without_passwords(details: Any) -> Any:
    match details:
        case str():
            return without_password(details)
        case dict():
            return {name: _without_passwords(part) for name, part in details.items()}
        case list():
            return [_without_passwords(part) for part in details]
    return details


@dataclass(frozen=True, slots=True)
class CodeRule:
    """The answer to a code. `retry_after_s` is None where a retry cannot help by itself."""

    status: int
    retry_after_s: float | None
    branch: "type[SIEError]"


class SIEError(Exception):
    """The root. `code` is stable, `field` names the offending part of the request if any.

    `retry_after_s` overrides the code's own; `details` is JSON that a program may act on.
    """

    code: str = "INTERNAL_SERVER_ERROR"
    request_id: str = ""
    """The request that met the error, where it came over the wire."""
    answered_status: int = 0
    """The status that it came with; 0 where it came with none."""
    request: Any = None
    """The making of the answer that told it, as results have it; None where there was no answer."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        field: str | None = None,
        retry_after_s: float | None = None,
        details: Any = None,
    ) -> None:
        # Whatever tells of an address may tell of one that somebody pasted with its password.
        message = _told(without_password(message), _MESSAGE_MAX, _MESSAGE_END)
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.field = field if field is None else visible(field[:_FIELD_MAX])[:_FIELD_MAX]
        self.details = _shortened_problems(_without_passwords(details))
        rule = CODES.get(self.code)
        default = rule.retry_after_s if rule is not None else None
        self.retry_after_s = retry_after_s if retry_after_s is not None else default

    @property
    def status(self) -> int:
        """The HTTP status of the code; 500 for a code that the table does not have."""
        rule = CODES.get(self.code)
        return rule.status if rule is not None else 500

    @property
    def status_code(self) -> int:
        """The HTTP status that the error came with, else that of its code."""
        return self.answered_status or self.status

    @property
    def param(self) -> str | None:
        """The same as `field`, by the published client's name."""
        return self.field

    @property
    def retry_after(self) -> float | None:
        """The same as `retry_after_s`, by the published client's name."""
        return self.retry_after_s

    def to_wire(self) -> dict[str, Any]:
        """The one body of an error: `{"detail": {code, message, field?, details?}}`."""
        detail: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.field is not None:
            detail["field"] = self.field
        if self.details is not None:
            detail["details"] = self.details
        return {"detail": detail}


class FixRequest(SIEError):
    """The request is at fault: sending it again changes nothing."""

    code = "INVALID_REQUEST"


class Later(SIEError):
    """Nothing is wrong with the request: send it again after `retry_after_s`."""

    code = "QUEUE_UNAVAILABLE"


class TimeRanOut(SIEError):
    """The deadline passed; the work may or may not have been done."""

    code = "GATEWAY_TIMEOUT"


class Untrusted(SIEError):
    """The log, or a copy of it, cannot be trusted: an operator has to look."""

    code = "LOG_RECOVERY"


class OurFault(SIEError):
    """A defect or a failing part on our side."""

    code = "INTERNAL_SERVER_ERROR"


CODES: Final[dict[str, CodeRule]] = {
    "INVALID_REQUEST": CodeRule(400, None, FixRequest),
    "INPUT_TOO_LONG": CodeRule(400, None, FixRequest),
    "UNSUPPORTED_OPERATION": CodeRule(400, None, FixRequest),
    "UNSUPPORTED_FIELD": CodeRule(400, None, FixRequest),
    "UNAUTHORIZED": CodeRule(401, None, FixRequest),
    "FORBIDDEN": CodeRule(403, None, FixRequest),
    "POOL_OPERATION_FORBIDDEN": CodeRule(403, None, FixRequest),
    "DEFAULT_POOL_DELETE_FORBIDDEN": CodeRule(403, None, FixRequest),
    "NOT_FOUND": CodeRule(404, None, FixRequest),
    "MODEL_NOT_FOUND": CodeRule(404, None, FixRequest),
    "PROFILE_NOT_FOUND": CodeRule(404, None, FixRequest),
    "ADAPTER_NOT_FOUND": CodeRule(404, None, FixRequest),
    "BUNDLE_NOT_FOUND": CodeRule(404, None, FixRequest),
    "POOL_NOT_FOUND": CodeRule(404, None, FixRequest),
    "METHOD_NOT_ALLOWED": CodeRule(405, None, FixRequest),
    "REQUEST_TIMEOUT": CodeRule(408, 1.0, Later),
    "AHEAD": CodeRule(409, None, FixRequest),
    "BUNDLE_ROUTING_CONFLICT": CodeRule(409, None, FixRequest),
    "ENTITY_CONFLICT": CodeRule(409, None, FixRequest),
    "FORCE_REQUIRED": CodeRule(409, None, FixRequest),
    "GONE": CodeRule(410, None, FixRequest),
    "PRECONDITION_FAILED": CodeRule(412, None, FixRequest),
    "PAYLOAD_TOO_LARGE": CodeRule(413, None, FixRequest),
    "URL_TOO_LONG": CodeRule(414, None, FixRequest),
    "UNSUPPORTED_MEDIA_TYPE": CodeRule(415, None, FixRequest),
    "VALIDATION_ERROR": CodeRule(422, None, FixRequest),
    "IDEMPOTENCY_MISMATCH": CodeRule(422, None, FixRequest),
    "RATE_LIMIT": CodeRule(429, 1.0, Later),
    "HEADERS_TOO_LARGE": CodeRule(431, None, FixRequest),
    "PROVISIONING": CodeRule(503, 5.0, Later),
    "POOL_CAPACITY_UNAVAILABLE": CodeRule(503, 5.0, Later),
    "MODEL_LOADING": CodeRule(503, 2.0, Later),
    "LORA_LOADING": CodeRule(503, 1.0, Later),
    "QUEUE_FULL": CodeRule(503, 1.0, Later),
    "QUEUE_UNAVAILABLE": CodeRule(503, 2.0, Later),
    "RESOURCE_EXHAUSTED": CodeRule(503, 5.0, Later),
    "REVISION_CHANGED": CodeRule(503, 0.5, Later),
    "NOT_READY": CodeRule(503, 1.0, Later),
    "STORAGE_FULL": CodeRule(507, 10.0, Later),
    "STORAGE_FAILED": CodeRule(503, 5.0, Later),
    "LOG_RECOVERY": CodeRule(503, 10.0, Untrusted),
    "LOG_READ_ONLY": CodeRule(503, 5.0, Later),
    "MODEL_LOAD_FAILED": CodeRule(502, None, OurFault),
    "ADAPTER_LOAD_FAILED": CodeRule(502, None, OurFault),
    "INFERENCE_ERROR": CodeRule(500, None, OurFault),
    "INTERNAL_SERVER_ERROR": CodeRule(500, None, OurFault),
    "GATEWAY_TIMEOUT": CodeRule(504, 5.0, TimeRanOut),
}


def invalid_field(field: str, message: str) -> FixRequest:
    """The refusal of one field: named as such, and as the only one of the list of problems."""
    return FixRequest(
        message,
        code="VALIDATION_ERROR",
        field=field,
        details=[{"path": field, "message": message}],
    )


def error_for(
    code: str,
    message: str,
    *,
    field: str | None = None,
    retry_after_s: float | None = None,
    details: Any = None,
) -> SIEError:
    """The error of a code that came over a wire; an unknown code is our fault."""
    rule = CODES.get(code)
    branch = rule.branch if rule is not None else OurFault
    return branch(message, code=code, field=field, retry_after_s=retry_after_s, details=details)
