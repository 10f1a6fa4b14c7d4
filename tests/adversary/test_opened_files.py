"""The files that sie-config opens while anybody asks it anything: a small set, whatever is asked.

A hook in the real process notes every file that Python opens there and every database that SQLite
is given. SQLite's own opens are not seen, which is the point: it alone may open the log.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from tests.support.config_process import config_process
from tests.support.config_writer import model
from tests.support.log_world import nowhere

from sie_runtime.access.access import hash_of

pytestmark = pytest.mark.integration

ROOT: Final = Path(__file__).parents[2]
OPENAPI: Final = ROOT / "docs/openapi/sie-config.json"
HOOK: Final = """
import os, sys
_notes = os.open(os.environ["OPENS_NOTED_IN"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def _note(event, arguments):
    if event in {"open", "sqlite3.connect", "os.listdir", "os.scandir", "shutil.copyfile"}:
        what = arguments[0]
        what = os.fspath(what) if isinstance(what, os.PathLike) else what
        os.write(_notes, f"{event} {what!r}\\n".encode())
sys.addaudithook(_note)
"""
TOKEN: Final = "a-token-of-the-test"
LIBRARY: Final = {sys.prefix, sys.base_prefix, str(ROOT)}
"""Modules that are imported when they are first wanted, and what the interpreter came with."""
ALLOWED: Final = [
    # A pipe to a process of its own.
    r"open [0-9]+",
    r"open '/dev/null'",
    # The metrics of the process itself.
    r"open '/proc/((self|[0-9]+)/(stat|limits)|stat)'",
    r"(os\.listdir|os\.scandir) '/proc/(self|[0-9]+)/fd'",
    r"open 'FOLDER/data/log\.sqlite\.(head|checkpoint|lock|key)(\.(new|making))?'",
    # Synced once, when the key is made with a new log.
    r"open 'FOLDER/data'",
    r"open 'FOLDER/tokens\.json'",
    r"os\.listdir 'FOLDER/hook'",
    r"sqlite3\.connect '(FOLDER/data/(log|lookup|refused)\.sqlite|:memory:)'",
    r"sqlite3\.connect 'file://FOLDER/data/log\.sqlite\?mode=ro'",
]


def battery(folder: Path) -> Iterator[tuple[str, str, Any]]:
    """Requests to every route, as the document of them says, and to files by many names."""
    document = json.loads(OPENAPI.read_text())
    data = folder / "data"
    names = [data, data / "log.sqlite", folder, "/etc", f"/proc/self/root{data}", "/proc/self/fd"]
    sources = [{"type": "path", "path": str(name)} for name in [*names, folder / "weights"]]
    # It has no end, and names no file.
    del document["paths"]["/v1/configs/events"]
    for path, methods in document["paths"].items():
        for method in methods:
            for key in ("known", "..%2Flog.sqlite"):
                url = path.replace("{key}", key).replace("{epoch}", "2")
                for query in ("", "?at=2&from=1&to=3", "?dry_run=true&revision=00"):
                    yield method, url + query, {"path": str(data / "log.sqlite")}
    for source in sources:
        for dry in ("?dry_run=true", ""):
            yield "post", f"/v1/configs/models{dry}", model("known", source=source)
            yield "put", f"/v1/configs/adapters/known/a{dry}", {"source": source}
            patch = {"source": source}
            yield "patch", f"/v1/configs/models/known{dry}", patch
            put = {"op": "put", "kind": "model", "document": model("m", source=source)}
            yield "post", f"/v1/configs/batch{dry}", {"operations": [put]}
    yield "post", "/v1/configs/compact", {"keep": 2}
    yield "post", "/v1/configs/revert", {"to": 3}
    yield "get", "/v1/configs/audit?actor=x&outcome=accepted", None
    for path in ("/../../etc/passwd", "/console/..%2f..%2fetc/passwd", "/static/x", "/docs"):
        yield "get", path, None


async def asked(client: httpx.AsyncClient, method: str, url: str, body: Any) -> int:
    headers = {"X-SIE-Reason": "a look", "content-type": "application/json"}
    if method == "patch":
        headers["content-type"] = "application/merge-patch+json"
    content = json.dumps(body) if body is not None and method != "get" else None
    answer = await client.request(method, url, content=content, headers=headers)
    return answer.status_code


async def test_no_request_has_a_file_opened_that_is_not_the_writers_own(tmp_path, monkeypatch):
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook/sitecustomize.py").write_text(HOOK)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/model.bin").write_bytes(b"weights")
    tokens, notes = tmp_path / "tokens.json", tmp_path / "opens"
    grant = {"name": "t", "sha256": hash_of(TOKEN.encode()), "roles": ["admin", "audit"]}
    tokens.write_text(json.dumps({"tokens": [grant]}))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hook"))
    monkeypatch.setenv("OPENS_NOTED_IN", str(notes))
    flags = {
        "--weights-folders": str(tmp_path),
        "--auth-file": str(tokens),
        "--auth-reload-s": "0",
        "--checkpoint-entries": "2",
        "--head-file-s": "0.01",
        "--drain-s": "1",
    }
    words = [word for pair in flags.items() for word in pair]
    async with config_process(tmp_path / "data", nowhere(), *words) as (process, client):
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        statuses = {200: 0, 201: 0, 422: 0}
        for number, (method, url, body) in enumerate(battery(tmp_path)):
            if "/wait" in url or url.startswith("/v1/configs/epoch"):
                continue
            if number % 50 == 0:
                os.utime(tokens)
            status = await asked(client, method, url, body)
            statuses[status] = statuses.get(status, 0) + 1
        process.terminate()
        await process.wait()
    assert all(statuses[status] for status in (200, 201, 422)), statuses
    assert unknown(notes, tmp_path) == []


def unknown(notes: Path, folder: Path) -> list[str]:
    """The lines that were noted and are neither the writer's own nor a module."""
    known = [re.compile(each.replace("FOLDER", re.escape(str(folder)))) for each in ALLOWED]
    noted = set(notes.read_text().splitlines())
    assert any("log.sqlite.head" in line for line in noted)
    return sorted(
        line
        for line in noted
        if not any(each.fullmatch(line) for each in known)
        and not any(line.partition("'")[2].startswith(f"{place}/") for place in LIBRARY)
    )
