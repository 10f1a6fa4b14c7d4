"""A hub on loopback: the part of its protocol by which a pinned revision is fetched.

Serves folders as repositories: the list of a revision's files, and each file with the commit, the
size and the hash that the hub states for it. A repository may be gated, and a file may be served
damaged while its stated hash stays the true one, or be held half-way until a test lets it go.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["HubMirror", "hub_mirror"]

_HELD_S = 120.0
"""A test that failed does not hold the mirror's end up for longer."""


@dataclass
class HubMirror:
    """The repositories that are served. `asked` are the paths of the requests so far."""

    url: str
    repositories: dict[tuple[str, str], Path] = field(default_factory=dict)
    """By (id, commit)."""
    gated: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    """Names of files whose bytes are not those that their hash says."""
    tagged: dict[str, dict[str, str]] = field(default_factory=dict)
    """By the name of a file: headers of its answer, in the place of what is true."""
    listed: dict[str, str] = field(default_factory=dict)
    """By the id of a repository: a name that the list of its files has besides."""
    busy: set[str] = field(default_factory=set)
    """Repositories for which it asks to be left alone."""
    private: dict[str, str] = field(default_factory=dict)
    """By the id of a repository: the token without which there is none of that name."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Old id -> new id: answered by a redirection."""
    branches: dict[tuple[str, str], str] = field(default_factory=dict)
    """By (id, branch or tag): the commit that it names."""
    held: dict[str, threading.Event] = field(default_factory=dict)
    """By the id of a repository: its weights come no further than half until the event."""
    asked: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    mirror: HubMirror

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Tests read `asked`."""

    def _answer(self, *, body: bool) -> None:
        # As the hub does: a revision with slashes is one part, with its slashes quoted.
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        self.mirror.asked.append(f"{self.command} {'/'.join(parts)}")
        name = "/".join(parts[2:4] if parts[:2] == ["api", "models"] else parts[:2])
        if name in self.mirror.busy:
            self._refuse(429, "RateLimited", {"Retry-After": "7"})
            return
        wanted = self.mirror.private.get(name)
        if wanted is not None and self.headers.get("authorization") != f"Bearer {wanted}":
            self._refuse(404, "RepoNotFound")
            return
        if name in self.mirror.renamed:
            place = self.path.replace(name, self.mirror.renamed[name], 1)
            self._refuse(307, "Moved", {"Location": place})
            return
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            self._repository("/".join(parts[2:4]), parts[4:], body)
        elif len(parts) > 4 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), body)
        else:
            self._refuse(404, "EntryNotFound")

    def _folder(self, name: str, commit: str) -> Path | None:
        if name in self.mirror.gated:
            self._refuse(403, "GatedRepo")
            return None
        commit = self.mirror.branches.get((name, commit), commit)
        folder = self.mirror.repositories.get((name, commit))
        if folder is None:
            known = any(one == name for one, _ in self.mirror.repositories)
            self._refuse(404, "RevisionNotFound" if known else "RepoNotFound")
        return folder

    def _repository(self, name: str, rest: list[str], body: bool) -> None:
        asked = rest[1] if len(rest) > 1 else ""
        commit = self.mirror.branches.get((name, asked), asked)
        folder = self._folder(name, commit)
        if folder is None:
            return
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in files]
        if rest[0] == "tree":
            answer: Any = [
                {"type": "file", "path": one, "size": path.stat().st_size, "oid": _sha1(path)}
                for one, path in zip(names, files, strict=True)
            ]
            if name in self.mirror.listed:
                besides = {"path": self.mirror.listed[name], "size": 2, "oid": "0"}
                answer = [*answer, {"type": "file", **besides}]
        else:
            siblings = [{"rfilename": one} for one in names]
            answer = {"id": name, "modelId": name, "sha": commit, "siblings": siblings}
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body)

    def _file(self, name: str, commit: str, file: str, body: bool) -> None:
        folder = self._folder(name, commit)
        if folder is None:
            return
        path = folder / file
        told = self.mirror.tagged.get(file, {})
        if not path.is_file():
            self._refuse(404, "EntryNotFound", told)
            return
        content = path.read_bytes()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        headers |= told
        if file in self.mirror.damaged:
            content = bytes(len(content))
        asked = re.fullmatch(r"bytes=0-(\d+)", self.headers.get("range") or "")
        status = 206 if asked and content else 416 if asked else 200
        content = content[: int(asked[1]) + 1] if asked else content
        held = self.mirror.held.get(name) if file.endswith(".safetensors") else None
        self._send(status, content, headers, body, held)

    def _refuse(self, status: int, code: str, more: dict[str, str] | None = None) -> None:
        told = {"X-Error-Code": code, "X-Error-Message": code}
        self._send(status, b"", {**told, **(more or {})}, False)

    def _send(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str],
        body: bool,
        held: threading.Event | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            half = len(content) // 2
            self.wfile.write(content[:half])
            if held is not None:
                held.wait(_HELD_S)
            self.wfile.write(content[half:])


def _sha1(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def hub_mirror() -> Iterator[HubMirror]:
    """A mirror on a free port."""
    mirror = HubMirror("")
    served = type("Handler", (_Handler,), {"mirror": mirror})
    server = ThreadingHTTPServer(("127.0.0.1", 0), served)
    mirror.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield mirror
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
