"""Redaction: what may leave a cluster in a file for strangers, and what may not.

*pure.* Works by lists of what is let through, not of what is held back. Of a log line the fields
that are named here stay, the rest is dropped by name. Known secrets and whatever looks like one are
replaced wherever they stand, and quoted texts of some length with them.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sie_schemas.errors import without_password

__all__ = ["Redactor", "is_secret_name", "pseudonym", "secrets_of"]

_SECRET_NAME: Final = re.compile(r"TOKEN|KEY|PASSWORD|PASSWD|SECRET|CREDENTIAL|SEED", re.IGNORECASE)
_SECRET_LENGTH_MIN: Final = 6
"""A shorter one would take words of every text with it."""
_GONE: Final = "[secret]"
_LOOKS_SECRET: Final = (
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
    ),
    re.compile(r"\bsie_[A-Za-z0-9_-]{20,}"),
    re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    re.compile(r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
    re.compile(
        r"(?i)\b(?:password|passwd|secret|token|api[_-]?key)\b[\"']?\s*[:=]\s*[\"']?[^\s\"',}]+"
    ),
)
_QUERY_OF_URL: Final = re.compile(r"(://[^\s?\"']*)\?[^\s\"']*")
_QUOTED: Final = re.compile(r"'(?:[^'\\\n]|\\.){80,}'|\"(?:[^\"\\\n]|\\.){80,}\"")
_FIELDS: Final = frozenset(
    {
        *("ts", "level", "role", "id", "logger", "msg", "reason", "code", "model", "epoch", "head"),
        *("epochs", "published", "replica", "request_id", "trace_id", "span_id", "elapsed_ms"),
        *("revision", "adapter_revision", "worker", "pool", "status"),
    }
)
"""Of a log line; `tenant` and `error` are let through changed."""
_BROKER: Final = re.compile(
    r"^\[\d+\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d+ \[(?:INF|WRN|ERR|FTL)\] "
)
"""The head of a line of nats-server, which writes no JSON."""
_FRAME: Final = re.compile(r'^\s*File "[^"]+", line \d+, in \S+$')
_RAISED: Final = re.compile(
    r"^\s*(?:\|\s*)?((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Group|Exit|Timeout|Unavailable)):?"
)


def is_secret_name(name: str) -> bool:
    """True for a variable whose value is a secret, by its name."""
    return _SECRET_NAME.search(name) is not None


def secrets_of(environ: Mapping[str, str]) -> set[str]:
    """The secrets in variables. A path of a file is none."""
    return {
        value
        for name, value in environ.items()
        if is_secret_name(name) and len(value) >= _SECRET_LENGTH_MIN and not value.startswith("/")
    }


def pseudonym(name: str) -> str:
    """The same for the same name, and not the name."""
    return "id-" + hashlib.sha256(name.encode()).hexdigest()[:8] if name else ""


class Redactor:
    """Knows the secrets of one cluster."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: one may be a part of another.
        self._secrets = sorted(
            {each for each in secrets if len(each) >= _SECRET_LENGTH_MIN}, key=len, reverse=True
        )

    def holds_secret(self, data: bytes) -> bool:
        """True if one of the known secrets is in these bytes."""
        return any(each.encode() in data for each in self._secrets)

    def text(self, text: str) -> str:
        """A text without secrets and without long quotations."""
        for each in self._secrets:
            text = text.replace(each, _GONE)
        # After the known ones: a pattern may take the half of one, whose rest nothing would find.
        for pattern in _LOOKS_SECRET:
            text = pattern.sub(_GONE, text)
        text = _QUERY_OF_URL.sub(r"\1", without_password(text))
        return _QUOTED.sub(lambda found: f"[a text of {len(found[0]) - 2} characters]", text)

    def value(self, value: Any) -> Any:
        """A value of JSON with every string in it redacted, names of fields too."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(name)): self.value(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(each) for each in value]
        return value

    def log_line(self, line: str) -> str | None:
        """A line of a process's log; None for one that is not let through."""
        try:
            found = json.loads(line)
        except ValueError:
            return self._plain_line(line)
        if not isinstance(found, dict):
            return None
        told = {name: self.value(each) for name, each in found.items() if name in _FIELDS}
        # Told by name: who reads the line sees that there was more, and of what kind.
        dropped = sorted(found.keys() - _FIELDS - {"tenant", "error"})
        if found.get("tenant"):
            told["tenant"] = pseudonym(str(found["tenant"]))
        if found.get("error"):
            told["error"] = self._traceback(str(found["error"]))
        if dropped:
            told["dropped"] = self.value(dropped)
        return json.dumps(told, ensure_ascii=False)

    def _plain_line(self, line: str) -> str | None:
        """The broker's lines, and frames of a traceback; a message of an error stays behind."""
        if _BROKER.match(line):
            return self.text(line)
        return self._traceback(line) or None

    def _traceback(self, text: str) -> str:
        kept = []
        for line in text.splitlines():
            raised = _RAISED.match(line)
            if _FRAME.match(line):
                kept.append(line)
            elif raised is not None:
                kept.append(raised[1])
        return self.text("\n".join(kept))
