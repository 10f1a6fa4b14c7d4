"""The support bundle: one file with the verdict on a cluster and what it rests on.

*shell.* Gathers what the services tell and the ends of local logs, and writes a `tar.gz` for its
owner only. Promises that nothing is in it but what `CONTENTS` names, redacted. Before a byte is
written, each part is searched for every known secret: one that is found stops the writing.
"""

import io
import json
import os
import platform
import re
import tarfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from sie_cli.access.private_files import write_private
from sie_cli.diagnosis.facts import Answer, Facts, Place, gather
from sie_cli.diagnosis.redaction import Redactor, is_secret_name, secrets_of
from sie_cli.diagnosis.report import verdict_lines
from sie_cli.diagnosis.verdict import judge
from sie_cli.texts.versions import versions
from sie_schemas.errors import FixRequest, OurFault

__all__ = ["CONTENTS", "write_bundle"]

CONTENTS: Final[Mapping[str, str]] = {
    "about.json": "when and with which release it was made, and the SIE_* variables by name",
    "verdict.txt": "what `sie doctor` says",
    "verdict.json": "the same for programs",
    "status.json": "the processes of a local cluster",
    "config.json": "the head, the writer's state, and each replica as sie-config sees it",
    "gateway.json": "the workers as the gateway hears them",
    "config-metrics.txt": "sie-config's metrics",
    "gateway-metrics.txt": "the gateway's metrics",
    "logs/": "the newest log lines of each local process, by named fields",
}
_PASSWORDS: Final = re.compile(r'password"?\s*:\s*"([^"]+)"')
_SHOWN_VARIABLES: Final = ("SIE_", "HF_HUB_", "CUDA_VISIBLE_DEVICES")
_LINE_BYTES_MAX: Final = 64 * 1024
"""A traceback in one line; longer ones are no use to a reader."""
_OF_REPLICAS: Final = frozenset({"traffic", "adapters"})
"""Of a replica's row: what clients asked for is theirs."""


def write_bundle(place: Place, file: Path | None, *, lines_max: int) -> Iterator[str]:
    """Write it; gives lines for the person. Raises `FixRequest` for a place that takes no file."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = file or Path(f"sie-support-{moment}.tar.gz")
    if target.exists():
        raise FixRequest(f"{target} is there already: give another name")
    redactor = Redactor(_known_secrets(place))
    facts = gather(place)
    parts = {name: data for name, data in _parts(facts, redactor, moment, lines_max) if data}
    for name, data in parts.items():
        if redactor.holds_secret(data):
            raise OurFault(f"{name} would have held a secret: nothing was written. Report this")
    try:
        write_private(target.absolute(), _packed(parts))
    except OSError as error:
        raise FixRequest(f"{target} cannot be written ({error.strerror})") from error
    yield f"{target}"
    for name, data in parts.items():
        yield f"  {len(data):>9} {name}"
    yield "  look through it before you send it: `tar xzf` unpacks it"


def _known_secrets(place: Place) -> set[str]:
    found = secrets_of(os.environ)
    found |= {each for each in (place.config_token, place.gateway_token) if each}
    for path in _private_files(place):
        try:
            found |= set(_PASSWORDS.findall(path.read_text(errors="replace")))
        except OSError:
            continue
    return found


def _private_files(place: Place) -> Iterator[Path]:
    if place.data is not None:
        # Their passwords stand in no variable, and a line of a log may quote them.
        yield place.data / "nats.conf"
        yield place.data / "operator.json"


def _parts(
    facts: Facts, redactor: Redactor, moment: str, lines_max: int
) -> Iterator[tuple[str, bytes]]:
    verdict = judge(facts)

    def as_json(value: Any) -> bytes:
        plain = redactor.value(msgspec.to_builtins(value))
        return (json.dumps(plain, indent=1, ensure_ascii=False) + "\n").encode()

    yield "about.json", as_json(_about(moment))
    yield "verdict.txt", redactor.text("\n".join(verdict_lines(verdict)) + "\n").encode()
    yield "verdict.json", as_json(verdict.to_builtins())
    if facts.place.record is not None:
        yield "status.json", as_json(facts.place.record)
    yield "config.json", as_json([_told(facts.config_ready), _replicas(facts.replicas)])
    if facts.gateway is not None:
        yield "gateway.json", as_json(_told(facts.gateway))
    for name, answer in (
        ("config-metrics.txt", facts.config_metrics),
        ("gateway-metrics.txt", facts.gateway_metrics),
    ):
        if answer is not None and isinstance(answer.body, str):
            yield name, redactor.text(answer.body).encode()
    if facts.place.data is not None:
        yield from _logs(facts.place.data / "logs", redactor, lines_max)


def _about(moment: str) -> dict[str, Any]:
    return {
        "made": moment,
        "release": versions(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "contents": dict(CONTENTS),
        "variables": {
            name: "[secret]" if is_secret_name(name) else value
            for name, value in sorted(os.environ.items())
            if name.startswith(_SHOWN_VARIABLES)
        },
    }


def _told(answer: Answer) -> dict[str, Any]:
    return {
        "url": answer.url,
        "status": answer.status,
        "error": answer.error,
        "body": answer.body if isinstance(answer.body, dict) else None,
    }


def _replicas(answer: Answer) -> dict[str, Any]:
    told = _told(answer)
    rows = answer.told.get("replicas")
    if isinstance(rows, list):
        shown = [{k: v for k, v in row.items() if k not in _OF_REPLICAS} for row in rows]
        told["body"] = {**answer.told, "replicas": shown}
    return told


def _logs(folder: Path, redactor: Redactor, lines_max: int) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.glob("*.log")):
        with path.open(errors="replace") as file:
            # Read through from the start: a log may have gigabytes, and so many lines are held.
            newest = deque((line[:_LINE_BYTES_MAX] for line in file), maxlen=lines_max)
        kept = [redactor.log_line(line.rstrip("\n")) for line in newest]
        text = "".join(f"{line}\n" for line in kept if line is not None)
        yield f"logs/{path.name}", text.encode()


def _packed(parts: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in parts.items():
            entry = tarfile.TarInfo(f"sie-support/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()
