"""The door for reports: who may report as whom over HTTP, and how large a report may be.

*pure.* A report can hold up writes, so it is taken from the replica that it names and from nobody
else. Where tokens are in force, the token names it. Where none are, everybody may do everything,
and a report over HTTP is shown and waited for, but what it cannot read stops no write. Promises
that what is kept of a report is bounded, field by field, and that a refusal names the field.
"""

import re
from typing import Final

from sie_runtime.access.access import Principal
from sie_schemas.errors import FixRequest
from sie_schemas.fleet import ReplicaReport

__all__ = ["check_report", "check_speaker"]

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HEX: Final = re.compile(r"[0-9a-f]{0,64}")
_SIGNED: Final = re.compile(r"[0-9a-f]{128}")
_LIFE: Final = re.compile(r"[!-~]{0,64}")
_KIND: Final = re.compile(r"[a-z_]{1,32}\.[a-z_]{1,32}|[a-z_]{1,64}")
_KINDS_MAX: Final = 64
"""Several times the kinds of change that there are; a forged report stays small."""
_NUMBER_MAX: Final = 2**53
"""The largest whole number that JSON's readers agree on."""
_NAME_MAX: Final = 256
"""As long as the names of pools and bundles may be."""


def check_report(report: ReplicaReport) -> None:
    """Raise `FixRequest` VALIDATION_ERROR for what no replica would say."""
    for field, text, shape in (
        ("id", report.id, _ID),
        ("life", report.life, _LIFE),
        ("log_id", report.log_id, _HEX),
        ("hash", report.hash, _HEX),
        ("digest", report.digest, _HEX),
    ):
        if not shape.fullmatch(text):
            raise _refused(field, f"{text[:64]!r} is not like {shape.pattern}")
    signature = report.signature
    if signature and not (_HEX.fullmatch(signature.key_id) and _SIGNED.fullmatch(signature.value)):
        raise _refused("signature", "is a key id and 64 bytes, in hex")
    for field, number in (("epoch", report.epoch), ("received", report.received)):
        if not 0 <= number <= _NUMBER_MAX:
            raise _refused(field, f"{number} is not from 0 to 2^53")
    if len(report.speaks) > _KINDS_MAX or not all(map(_KIND.fullmatch, report.speaks)):
        raise _refused("speaks", f"takes up to {_KINDS_MAX} kinds of change, like model.put")
    _check_use(report)


def _check_use(report: ReplicaReport) -> None:
    for field, asked in (("traffic", report.traffic), ("adapters", report.adapters)):
        if any(not 0 <= ago_s <= _NUMBER_MAX for ago_s in asked.values()):
            raise _refused(field, "takes seconds from 0 to 2^53")
    if any(len(name) > _NAME_MAX for name in report.place or ()):
        raise _refused("place", f"takes names of up to {_NAME_MAX} characters")


def check_speaker(report: ReplicaReport, speaker: Principal) -> None:
    """Raise `FixRequest` FORBIDDEN for a token that names another replica."""
    if not speaker.is_known or speaker.speaks_as(report.role, report.id):
        return
    named = f"speaks as {speaker.replica}" if speaker.replica else "names no replica"
    raise FixRequest(
        f"the token {speaker.name!r} {named} and may not report as {report.role} {report.id!r}: "
        f"give that replica a token of its own, `sie token new NAME --roles read,report --replica "
        f"{report.role}/{report.id}`",
        code="FORBIDDEN",
        field="id",
    )


def _refused(field: str, problem: str) -> FixRequest:
    return FixRequest(f"{field}: {problem}", code="VALIDATION_ERROR", field=field)
