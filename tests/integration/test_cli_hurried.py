"""Mistakes of a hurried person against a live cluster: each ends in one line with what to do."""

import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.support.config_writer import model
from tests.support.console_world import served_console

from sie_cli.main import main
from sie_runtime.access.access import Grant, Tokens, hash_of

pytestmark = pytest.mark.integration

READER, WRITER, REVOKED = (
    f"token-of-a-{name}-that-is-long" for name in ("reader", "writer", "past")
)
URL = "--url={url}"
APPLY = ("apply", URL, "-f")
HURRIED: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    # typing errors
    "two letters changed": (("aplpy", "-f", "good.yaml", URL), ("aplpy", "'apply'")),
    "kubectl's word for it": (("rollback", "3", URL), ("rollback", "--help")),
    "one word for two": (("get", "model/org/m", URL), ("model org/m",)),
    "the plural with a typing error": (("get", "adaptors", URL), ("adaptors", "'adapter'")),
    "two kinds with a comma": (("get", "models,pools", URL), ("models,pools", "kinds are")),
    "all of one kind": (("describe", "all", "x", URL), ("sie get all",)),
    "a kind without a name": (("describe", "model", URL), ("'name'", "--help")),
    "a dash too few": (("apply", "-prune", "-f", "good.yaml", URL), ("-p", "--help")),
    "an option of kubectl": (("get", "models", "-n", "prod", URL), ("-n", "--help")),
    "an option with a typing error": (("apply", "--purne", "-f", "x", URL), ("--purne", "--prune")),
    "--keep alone": ((*APPLY, "good.yaml", "--keep", "pool"), ("--keep", "--prune")),
    "--keep of no kind": (
        (*APPLY, "good.yaml", "--prune", "--keep", "secret"),
        ("secret", "kinds are"),
    ),
    "--keep of a kind in the files": (
        (*APPLY, "good.yaml", "--prune", "--keep", "model"),
        ("--keep model", "leave out"),
    ),
    "--prune without files": (("diff", "1", "--prune", URL), ("--prune", "-f")),
    "a selector with a space": (("get", "m", "-l", "pool in (a)", URL), ("FIELD=VALUE", "pool in")),
    "a selector by a field with a typing error": (
        ("get", "pools", "-l", "nmae=default", URL),
        ("nmae", "'name'"),
    ),
    "a form in capitals": (("get", "models", "-o", "JSON", URL), ("JSON", "'json'")),
    "a negative epoch": (("show", "-5", URL), ("-5", "--help")),
    "an epoch in words": (("show", "last", URL), ("last", "epoch")),
    "a day that is none": (("get", "models", "--at", "2026-02-31", URL), ("2026-02-31", "day")),
    # the wrong place
    "a port without a scheme": (("get", "models", "--url", "localhost:8081"), ("http",)),
    "the port of something else": (
        ("get", "models", "--url", "http://127.0.0.1:1"),
        ("127.0.0.1:1",),
    ),
    "a port that does not exist": (
        ("get", "models", "--url", "http://h:99999"),
        ("99999", "--url"),
    ),
    "a context of another machine": (("get", "models", "--context", "prod"), ("prod", "add")),
    "a context without a scheme": (("context", "add", "prod", "--url", "prod:8081"), ("http://",)),
    "a context whose token is not there": (
        ("context", "add", "prod", "--url", "http://prod", "--token-file", "none"),
        ("token file none",),
    ),
    "dead letters without a cluster": (("dlq", "ls"), ("no cluster is named", "--context")),
    "logs of no cluster": (("logs", "--data", "nowhere"), ("nowhere", "--data")),
    "the address of the console": (
        ("get", "models", "--url", "http://h:8081/console/#/models"),
        ("'http://h:8081'",),
    ),
    "a token in the address": (
        ("get", "m", "--url", "http://me:secret@h"),
        ("no password", "token"),
    ),
    "a broker's address with http": (("dlq", "ls", "--nats-url", "http://h"), ("nats://",)),
    # the wrong name
    "a name with a typing error": (("get", "pool", "defualt", URL), ("did you mean 'default'",)),
    "a name without its organisation": (("describe", "model", "known", URL), ("'org/known'",)),
    "the beginning of a name": (("get", "model", "org/kno", URL), ("'org/known'",)),
    "a wildcard": (("get", "models", "org/*", URL), ("no wildcard", "-l")),
    "a whole file for a name": (("get", "model", "x" * 90_000, URL), ("90000 characters",)),
    "bytes for a name": (("get", "model", "\udcff", URL), ("no UTF-8",)),
    "an address for a repository": (
        ("add", "https://hub.example/org/name/tree/main", URL),
        ("give the repository alone, org/name",),
    ),
    "half a path": (("get", "models", "-o", "jsonpath={.a", URL), ("one brace of two",)),
    "a moment that is not yet": (("get", "models", "--at", "tomorrow", URL), ("HEAD~1, 5m",)),
    # the wrong token
    "a token with its header": (("get", "models", URL), ("begins with 'Bearer'",)),
    "no token": (("get", "models", URL), ("SIE_API_KEY",)),
    "a token that was taken back": (("get", "models", URL), ("token", "sie token")),
    "a token that may only read": ((*APPLY, "good.yaml"), ("admin",)),
    "a token with a line end": (("get", "models", URL), ("token",)),
    # the wrong file
    "a file that is not there": ((*APPLY, "goood.yaml"), ("goood.yaml", "No such file")),
    "a folder that is not there": ((*APPLY, "clusters/"), ("clusters/", "No such file")),
    "nothing on stdin": ((*APPLY, "-"), ("stdin", "no document")),
    "a file without -f": (("apply", "good.yaml", URL), ("-f", "--help")),
    "tabs": ((*APPLY, "tabs.yaml"), ("tabs.yaml", "line 2")),
    "a picture": ((*APPLY, "picture.yaml"), ("picture.yaml", "cannot be read")),
    "UTF-16": ((*APPLY, "utf16.yaml"), ("utf16.yaml", "cannot be read")),
    "a file of 17 MiB": ((*APPLY, "huge.yaml"), ("huge.yaml", "too large")),
    "a name with spaces, and an error": ((*APPLY, "my models.yaml"), ("my models.yaml", "line 3")),
    "a switch of YAML 1.1": ((*APPLY, "no.yaml"), ("no.yaml", "line 3", "quote")),
    "an octal number": ((*APPLY, "octal.yaml"), ("octal.yaml", "line 3", "010")),
    "a key twice": ((*APPLY, "twice.yaml"), ("twice.yaml", "line 3", "stands twice")),
    "a document of Kubernetes": ((*APPLY, "deployment.yaml"), ("deployment.yaml", "kubectl")),
    "the field of another kind": (
        (*APPLY, "field.yaml"),
        ("field.yaml, line 3", "machine_profile"),
    ),
    "an adapter of no model": ((*APPLY, "adapter.yaml"), ("adapter.yaml", "org/none")),
}
"""The words, and what has to stand in the line. Tokens and stdin are below."""
TOKENS = {
    "no token": None,
    "a token that was taken back": REVOKED,
    "a token that may only read": READER,
    "a token with a line end": READER + "\n\n\x07",
    "a token with its header": f"Bearer {READER}",
}
WELL = {
    "CRLF": b"kind: pool\r\nname: crlf\r\n",
    "a byte order mark": b"\xef\xbb\xbfkind: pool\nname: bom\n",
    "a name with spaces": b"kind: pool\nname: spaces\n",
}
"""Files that look wrong and are not."""
FILES: dict[str, bytes] = {
    "good.yaml": json.dumps({"kind": "model", **model("org/m")}).encode(),
    "tabs.yaml": b"kind: pool\n\tname: p\n",
    "picture.yaml": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xfe",
    "utf16.yaml": "kind: pool\nname: p\n".encode("utf-16"),
    "huge.yaml": b"# \n" * (17 * 1024 * 1024 // 3),
    "my models.yaml": b"kind: pool\nname: [\n",
    "no.yaml": b"kind: pool\nname: p\ndescription: no\n",
    "octal.yaml": b"kind: pool\nname: p\nworkers_min: 010\n",
    "twice.yaml": b"kind: pool\nname: p\nname: q\n",
    "deployment.yaml": b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n",
    "field.yaml": b"kind: pool\nname: p\nmachine_profile: cpu\n",
    "adapter.yaml": b"kind: adapter\nmodel_id: org/none\nname: a\n"
    b'source: {type: hub, id: org/a, revision: "0000000000000000000000000000000000000000"}\n',
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("config")
    grants = [
        Grant(name="reader", sha256=hash_of(READER.encode()), roles=("read",)),
        Grant(name="writer", sha256=hash_of(WRITER.encode()), roles=("admin", "read")),
    ]
    tokens = folder / "tokens.json"
    tokens.write_bytes(msgspec.json.encode(Tokens(tokens=tuple(grants))))
    with served_console(folder / "config", tokens) as address:
        made = httpx.post(
            f"{address}/v1/configs/models",
            json=model("org/known"),
            headers={"authorization": f"Bearer {WRITER}"},
            timeout=60,
        )
        assert made.is_success, made.text
        yield address


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with files, no cluster, and no word of one in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    for name in [name for name in os.environ if name.startswith("SIE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))


def run(monkeypatch: pytest.MonkeyPatch, words: Sequence[str], url: str) -> object:
    monkeypatch.setattr("sys.argv", ["sie", *(each.replace("{url}", url) for each in words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize("mistake", HURRIED)
def test_what_a_hurried_person_types_ends_in_one_line_that_says_what_to_do(
    mistake: str,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words, told = HURRIED[mistake]
    for name in FILES.keys() & set(words):
        (tmp_path / name).write_bytes(FILES[name])
    token = TOKENS.get(mistake, WRITER)
    if token is not None:
        monkeypatch.setenv("SIE_API_KEY", token)
    status = run(monkeypatch, words, url)
    out, err = capfd.readouterr()
    assert status not in {0, None}
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("sie: ") and len(lines[0]) < 600
    for word in told:
        assert word in lines[0]


@pytest.mark.parametrize("kind", WELL)
def test_a_file_that_only_looks_wrong_is_applied(
    kind: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{kind}.yaml").write_bytes(WELL[kind])
    monkeypatch.setenv("SIE_API_KEY", WRITER)
    assert run(monkeypatch, (*APPLY, f"{kind}.yaml"), url) in {0, None}
