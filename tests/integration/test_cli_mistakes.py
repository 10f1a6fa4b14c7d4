"""Mistakes at the command line: each ends in one line that says what is wrong and what to do."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.support.config_writer import model
from tests.support.log_world import nowhere
from tests.support.served import served_config

from sie_cli.main import main

pytestmark = pytest.mark.integration

HERE = "--url={url}"
MISTAKES: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "a command with a typing error": (("gte", "models"), ("gte", "'get'")),
    "a kind with a typing error": (("get", "modles", HERE), ("modles", "model")),
    "a kind that is none": (("get", "secrets", HERE), ("secrets", "bundle, pool, model, adapter")),
    "no kind": (("get", HERE), ("kind", "sie get --help")),
    "no such model": (("get", "model", "org/a", HERE), ("org/a",)),
    "an option with a typing error": (("get", "models", "--al", "3"), ("--al", "--at")),
    "no cluster": (("get", "models"), ("no cluster is named", "--url", "--context", "--data")),
    "nobody at the address": (
        ("get", "models", "--url", nowhere().replace("nats", "http")),
        ("cannot be reached", "sie doctor"),
    ),
    "an address that is none": (("get", "models", "--url", "config"), ("config", "--url")),
    "two addresses": (("get", "models", HERE, "--data", "x"), ("--url", "--data", "not both")),
    "a context that is not there": (
        ("get", "models", "--context", "prod"),
        ("prod", "context add"),
    ),
    "a form that is none": (("get", "models", HERE, "-o", "jsn"), ("jsn", "json")),
    "a path that is none": (("get", "models", HERE, "-o", "jsonpath={.a[?]}"), ("[?]", "{.items")),
    "columns without paths": (("get", "models", HERE, "-o", "custom-columns=A"), ("NAME:.path",)),
    "a moment that is none": (("get", "models", HERE, "--at", "teatime"), ("teatime", "epoch")),
    "a moment before the log": (("get", "models", HERE, "--at", "HEAD~999"), ("HEAD~999", "head")),
    "an epoch to come": (("get", "models", HERE, "--at", "999"), ("999", "1 to")),
    "a number that is none": (("history", "-n", "many", HERE), ("-n", "many", "int")),
    "no file": (("apply", "-f", "gone.yaml", HERE), ("gone.yaml", "No such file")),
    "a folder without documents": (("apply", "-f", "empty", HERE), ("empty", "holds no document")),
    "a file that is no YAML": (("apply", "-f", "broken.yaml", HERE), ("broken.yaml", "line 2")),
    "a file that is no JSON": (("apply", "-f", "broken.json", HERE), ("broken.json", "line 1")),
    "a document without a kind": (("apply", "-f", "bare.yaml", HERE), ("bare.yaml", "kind")),
    "the second document of a file": (
        ("apply", "-f", "two.yaml", HERE),
        ("two.yaml", "document 2", "model"),
    ),
    "a file that --prune would take for gone": (
        ("apply", "--prune", "-f", "kept", HERE),
        ("kept/b.yaml.bak", "rename or move it", "--prune"),
    ),
    "two of one name": (("apply", "-f", "twice", HERE), ("stands in", "a.yaml", "b.yaml")),
    "a folder to write to that is not there": (
        ("export", "-f", "no/such/file", HERE),
        ("no/such/file", "No such file"),
    ),
    "a revert of nothing that is named": (("revert", "1", "model", HERE), ("KIND/NAME",)),
    "half a name of history": (("history", "model", HERE), ("a kind and a name",)),
    "the head was another": (
        ("apply", "-f", "good.json", "--if-epoch", "1", HERE),
        ("epoch", "1"),
    ),
}
HABITS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "a namespace": (("get", "models", "-n", "prod", HERE), ("no namespaces", "--context")),
    "all namespaces": (("get", "models", "-A", HERE), ("no namespaces",)),
    "a look that goes on": (("get", "models", "-w", HERE), ("sie watch",)),
    "pods": (("get", "pods", HERE), ("'pods' is no kind", "sie replicas")),
    "namespaces": (("get", "ns", HERE), ("sie get pools",)),
    "replicas as a kind": (("get", "replicas", HERE), ("sie replicas",)),
    "a rollout that is undone": (("rollout", "undo", HERE), ("rollout", "sie revert HEAD~1")),
    "a release that is rolled back": (("rollback", "3", HERE), ("sie revert",)),
    "a revert to a named place": (("revert", "--to", "3", HERE), ("--to", "sie revert EPOCH")),
    "a list": (("ls",), ("sie get KIND",)),
    "a creation": (("create", "-f", "x.yaml", HERE), ("sie apply -f FILE",)),
    "a release": (("upgrade", "--install", "x", HERE), ("sie apply -f FILE",)),
    "a scale": (("scale", "--replicas", "3", HERE), ("sie up --workers",)),
    "a shell inside": (("exec", "gateway", HERE), ("sie logs",)),
    "a deletion by file": (("delete", "-f", "x.yaml", HERE), ("sie apply --prune",)),
    "an overlay": (("apply", "-k", "overlay", HERE), ("kustomize build",)),
    "a folder with what is below": (("apply", "-R", "-f", "twice", HERE), ("leave it out",)),
    "a file without its option": (("apply", "good.json", HERE), ("-f", "--file")),
    "contexts of another tool": (("config", "get-contexts"), ("sie context ls",)),
    "a context of another tool": (("use-context", "prod"), ("sie context use NAME",)),
    "a login": (("login",), ("sie context add",)),
    "help": (("help", "get"), ("sie --help", "--help after a command")),
    "an option before its command": (("-o", "json", "get", "models"), ("comes after",)),
    "an address before its command": ((HERE, "get", "models"), ("--url comes after",)),
    "a status of elsewhere": (("status", HERE), ("sie doctor",)),
    "a number by its other name": (("history", "--limit", "3", HERE), ("-n says how many",)),
    "a condition": (("wait", "--for=condition=ready", HERE), ("sie wait --effective",)),
    "a name and its kind in one word": (("get", "model/org/m", HERE), ("in two words",)),
    "an address with its password": (
        ("add", "https://me:hunter2@hub.example/org/m", HERE),
        ("https://hub.example/org/m is an address", "org/m"),
    ),
    "a context with its password": (
        ("context", "add", "prod", "--url", "https://me:hunter2@config"),
        ("--url holds a user or a password", "--token-file"),
    ),
    "a broker's address that is none": (
        ("dlq", "ls", "--nats-url", "http://me:hunter2@broker:4222"),
        ("is no broker's address", "nats://"),
    ),
    "logs of a pod": (("logs", "worker-7f9c-x2", "--data", "."), ("worker-7f9c-x2", "gateway")),
}
NIGHT: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "the origin of a name with a slip": (("blame", "pool", "defualt", HERE), ("mean 'default'",)),
    "the past of a name with a slip": (("history", "pool", "defualt", HERE), ("mean 'default'",)),
    "a removal of a name with a slip": (("delete", "pool", "defualt", HERE), ("mean 'default'",)),
    "an edit of a name with a slip": (("edit", "pool", "defualt", HERE), ("mean 'default'",)),
    "a revert of a name with a slip": (
        ("revert", "1", "pool/defualt", HERE),
        ("mean 'default'",),
    ),
    "a revert of a name with a slip beside a name": (
        ("revert", "1", "bundle/default", "pool/defualt", HERE),
        ("no pool 'defualt'", "mean 'default'"),
    ),
    "a revert of a kind with a slip": (("revert", "1", "pol/default", HERE), ("pol", "'pool'")),
    "an outcome that is none": (
        ("audit", "--outcome", "forbiden", HERE),
        ("forbiden", "FORBIDDEN"),
    ),
    "an outcome in another word": (("audit", "--outcome", "ok", HERE), ("accepted, refused",)),
    "a position for an epoch": (("show", "abc12345.2", HERE), ("say 2",)),
    "an epoch that is none": (("show", "0", HERE), ("no epoch 0", "head is")),
    "a moment to come": (("events", "--since", "tomorrow", HERE), ("tomorrow", "yesterday")),
    "a month that is none": (("get", "models", "--at", "2026-13-01", HERE), ("1..12",)),
    "three moments": (("diff", "1", "2", "3", HERE), ("3", "sie diff --help")),
    "a replica of no role": (("replica", "forget", "master", "x", HERE), ("'gateway', 'worker'",)),
    "a replica that nobody heard": (
        ("replica", "resync", "worker", "w9", HERE),
        ("no worker 'w9'", "sie replicas"),
    ),
    "a wait for an epoch without its option": (("wait", "999", HERE), ("999", "sie wait --help")),
    "a quorum of none": (("wait", "--quorum", "0", HERE), ("--quorum", "x>=1")),
    "a time before the start": (("apply", "-f", "good.json", "--timeout", "-1"), ("x>=0",)),
    "an export of what never was": (("export", "--at", "HEAD~99", HERE), ("HEAD~99", "head is")),
    "a column without its dot": (
        ("get", "models", "-o", "custom-columns=NAME:id", HERE),
        ("'id'", "{.items"),
    ),
    "a context with a slash": (
        ("context", "add", "a/b", "--url", "http://h"),
        ("letters, digits",),
    ),
    "a port that is none": (("up", "--port", "99999"), ("99999", "--port")),
    "a seed that is none": (("simulate", "--seed", "x"), ("--seed", "sie simulate --help")),
}
MISTAKES |= HABITS | NIGHT
FILES = {
    "broken.yaml": "kind: pool\nname: [a\n",
    "broken.json": '{"kind": pool}',
    "bare.yaml": "name: p\n",
    "two.yaml": "{kind: pool, name: p}\n---\n{kind: modell, model_id: m}\n",
    "twice/a.yaml": "{kind: pool, name: p}",
    "twice/b.yaml": "{kind: pool, name: p}",
    "kept/a.yaml": "{kind: pool, name: p}",
    "kept/b.yaml.bak": "{kind: pool, name: q}",
    "kept/README.md": "words",
    "empty/notes.txt": "nothing",
    "logs/gateway.log": "",
    "good.json": json.dumps({"kind": "model", **model("org/m")}),
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served_config(tmp_path_factory.mktemp("config")) as address:
        yield address


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line_that_says_what_to_do(
    mistake: str,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments, told = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    for name in [name for name in os.environ if name.startswith("SIE_")]:
        monkeypatch.delenv(name)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    words = [
        each.replace("{url}", url).replace("{tls}", url.replace("http:", "https:"))
        for each in arguments
    ]
    monkeypatch.setattr("sys.argv", ["sie", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capfd.readouterr()
    assert ended.value.code not in {0, None}
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("sie: ")
    assert "hunter2" not in lines[0]
    for word in told:
        assert word in lines[0]
