"""The configuration sub-commands and the config clients against a real sie-config process."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import typer
import yaml
from tests.support.config_writer import model
from tests.support.log_world import free_port
from tests.support.served import served_config
from typer.testing import CliRunner, Result

from sie_cli.config import config_commands
from sie_cli.config.config_rows import verified_lines
from sie_cli.config.config_work import Work, run_work
from sie_cli.config.editing import edit
from sie_schemas.api.writes import DryRun, EntityWritten
from sie_schemas.errors import SIEError, error_for
from sie_schemas.fleet import ReplicaReport
from sie_sdk import FixRequest, SIEAsyncConfigClient, SIEConfigClient, SIEConnectionError, Terms


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A writer without a broker."""
    with served_config(tmp_path / "config") as address:
        yield address


def app() -> typer.Typer:
    commands = typer.Typer()
    for name in config_commands.__all__:
        commands.command(name.rstrip("_"))(getattr(config_commands, name))
    return commands


def sie(
    url: str, *arguments: str, status: int = 0, stdin: str | None = None, editor: str = ""
) -> Result:
    environ = {"EDITOR": editor, "VISUAL": ""}
    result = CliRunner().invoke(app(), [*arguments, "--url", url], input=stdin, env=environ)
    assert result.exit_code == status, (arguments, result.output, result.exception)
    return result


def write(folder: Path, name: str, *documents: dict[str, object]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(yaml.safe_dump_all([{"kind": "model", **each} for each in documents]))
    return path


@pytest.mark.integration
def test_a_folder_is_applied_compared_pruned_and_brought_back(url, tmp_path):
    folder = tmp_path / "gitops"
    write(folder, "models.yaml", model("org/a"), model("b", aliases=["short"]))
    pool = {"kind": "pool", "name": "eu", "machine_profiles": ["cpu"]}
    (folder / "pool.json").write_text(json.dumps(pool))
    assert sie(url, "diff", "-f", str(folder), status=1).stdout.splitlines() == [
        "+ model b",
        "+ model org/a",
        "+ pool eu",
    ]
    trial = sie(url, "apply", "-f", str(folder), "--dry-run")
    assert "+ model b" in trial.stdout
    assert trial.stderr.startswith("it would be epoch 4, digest ")
    assert trial.stderr.endswith("; it meets no replica\n")
    done = sie(url, "apply", "-f", str(folder), "-m", "first", "-o", "json")
    epoch = json.loads(done.stdout)["epoch"]
    assert sie(url, "diff", "-f", str(folder)).stdout == ""
    again = sie(url, "apply", "-f", str(folder))
    assert again.stdout == f"nothing differs at epoch {epoch}\n", "nothing differs: no entry"
    for command in ("get", "history"):
        by_alias = sie(url, command, "model", "short", status=2)
        assert "'short' is an alias of 'b': say the model" in by_alias.stderr
    (folder / "pool.json").unlink()
    write(folder, "models.yaml", model("org/a", aliases=["short"]))
    shown = sie(url, "diff", "-f", str(folder), "--prune", "--keep", "pool", status=1)
    assert "pool" not in shown.output
    pruned = sie(url, "apply", "-f", str(folder), "--prune", "-m", "less")
    assert pruned.stdout.splitlines()[-1] == f"epoch {epoch + 1}", "one atomic entry"
    assert "no file holds a pool: 1 would go" in pruned.stderr
    # What sie-config itself brought is nobody's file.
    assert sie(url, "get", "pools", "-o", "name").stdout.split() == ["pool/default"]
    assert len(sie(url, "get", "bundles", "-o", "name").stdout.split()) == 2
    assert sie(url, "get", "models", "-o", "name").stdout.split() == ["model/org/a"]
    # Of what is gone since the name is known, too.
    slip = sie(url, "revert", str(epoch), "model/b", "pool/e", status=2)
    assert "did you mean 'eu'?" in slip.stderr
    sie(url, "revert", str(epoch), "-m", "back")
    assert sie(url, "diff", str(epoch)).stdout == ""
    assert sie(url, "diff", str(epoch), str(epoch + 1), status=1).stdout.splitlines() == [
        "- model b",
        '~ model org/a  aliases: [] → ["short"]',
        "- pool eu",
    ]


@pytest.mark.integration
def test_what_is_refused_is_named_by_file_document_and_line(url, tmp_path):
    file = tmp_path / "two.yaml"
    text = "kind: pool\nname: p\n---\nkind: model\nmodel_id: org/m\n"
    text += "source: {type: hub, id: org/m}\ntasks:\n  encode: {}\n  fly: {}\n"
    file.write_text(text + "profiles:\n  default: {backend: transformer}\n")
    for command in (("apply",), ("diff",), ("apply", "--prune", "--dry-run")):
        refused = sie(url, *command, "-f", str(file), status=2).stderr.splitlines()
        assert refused[0].startswith(f"sie: {file}, document 2, line ")
        unknown = "tasks.fly: there is no such field; it takes encode, extract, score"
        assert f"  {file}, document 2, line 9: {unknown}" in refused
        assert any(f"{file}, document 2, line 6: source" in line for line in refused)
    assert sie(url, "get", "pools", "-o", "name").stdout.split() == ["pool/default"]


@pytest.mark.integration
def test_everything_is_listed_chosen_and_what_is_cut_is_said(url, tmp_path):
    write(tmp_path / "files", "models.yaml", model("org/a", pool="eu"), model("org/b"))
    (tmp_path / "files/eu.yaml").write_text("{kind: pool, name: eu, machine_profiles: [cpu]}")
    sie(url, "apply", "-f", str(tmp_path / "files"), "-m", "why")
    everything = sie(url, "get", "all", "-o", "name").stdout.split()
    assert {each.partition("/")[0] for each in everything} == {"model", "bundle", "pool"}
    assert sie(url, "get", "m", "-l", "pool=eu", "-o", "name").stdout.split() == ["model/org/a"]
    assert sie(url, "get", "m", "-l", "pool!=eu", "-o", "name").stdout.split() == ["model/org/b"]
    assert "did you mean 'pool'" in sie(url, "get", "m", "-l", "pol=eu", status=2).stderr
    two = json.loads(sie(url, "get", "m", "org/b", "org/a", "-o", "json").stdout)
    assert [row["model_id"] for row in two] == ["org/b", "org/a"]
    whole = json.loads(sie(url, "get", "all", "-o", "json").stdout)
    assert {row["kind"] for row in whole} == {"model", "bundle", "pool"}
    for text in ("one", "two"):
        write(tmp_path / "files", "models.yaml", model("org/a", pool="eu", description=text))
        sie(url, "apply", "-f", str(tmp_path / "files"))
    cut = sie(url, "history", "model", "org/a", "-n", "2")
    assert cut.stderr == "the newest 2 of 3; -n shows more\n"
    assert sie(url, "history", "model", "org/a").stderr == ""
    assert sie(url, "audit", "-n", "2").stderr == "the newest 2; -n shows more\n"
    sie(url, "delete", "model", "none", status=2)
    events = sie(url, "events", "-n", "3").stdout.splitlines()
    assert [line.split()[1] for line in events[1:]] == ["changed", "changed", "refused"]
    assert "MODEL_NOT_FOUND" in events[-1]
    assert len(json.loads(sie(url, "events", "-n", "3", "-o", "json").stdout)) == 3


@pytest.mark.integration
def test_what_was_exported_is_imported_elsewhere_exactly(url, tmp_path):
    sie(url, "apply", "-f", "-", stdin=yaml.safe_dump({"kind": "model", **model("m")}))
    target = tmp_path / "all.yaml"
    sie(url, "export", "-f", str(target))
    before = sie(url, "export", "-o", "json").stdout
    sie(url, "delete", "model", "m", "-m", "oops")
    sie(url, "import", str(target))
    assert sie(url, "export", "-o", "json").stdout == before
    assert sie(url, "import", str(target)).stdout.startswith("nothing differs")


@pytest.mark.integration
def test_the_past_is_shown_and_the_present_watched(url):
    document = yaml.safe_dump({"kind": "model", **model("m", description="one")})
    sie(url, "apply", "-f", "-", "-m", "why", stdin=document)
    sie(url, "apply", "-f", "-", stdin=document.replace("one", "two"))
    assert sie(url, "get", "model", "m", "--at", "4", "-o", "json").stdout.count("one") == 1
    assert "two" in sie(url, "get", "model", "m", "-o", "yaml").stdout
    assert "why" in sie(url, "history", "model", "m").stdout
    assert len(json.loads(sie(url, "history", "-n", "2", "-o", "json").stdout)) == 2
    fields = json.loads(sie(url, "blame", "model", "m", "-o", "json").stdout)
    assert {row["path"]: row["epoch"] for row in fields}["/description"] == 5
    shown = yaml.safe_load(sie(url, "show", "5").stdout)
    assert shown["changed"] == ['~ model m  description: "one" → "two"']
    described = sie(url, "describe", "model", "m").stdout
    assert '/description: "two"  (epoch 5,' in described and "(why)" in described
    whole = json.loads(sie(url, "describe", "model", "m", "-o", "json").stdout)
    assert [row["epoch"] for row in whole["history"]] == [4, 5]
    assert whole["fields"] == fields
    assert sie(url, "describe", "model", "m", "-o", "name").stdout == "model/m\n"
    then = json.loads(sie(url, "history", "model", "m", "--at", "4", "-o", "json").stdout)
    assert [row["epoch"] for row in then] == [4]
    moment = str(then[0]["ts"])
    everything = sie(url, "history", "--at", moment, "-n", "2", "-o", "name").stdout
    assert everything.split() == ["3", "4"]
    between = ("audit", "--since", moment, "--until", str(whole["history"][1]["ts"]))
    rows = json.loads(sie(url, *between, "-o", "json").stdout)
    assert [row["epoch"] for row in rows] == [4], "since is within, until is not"
    table = sie(url, "history", "model", "m").stdout
    assert "…" not in table and yaml.safe_load(sie(url, "show", "5").stdout)["ts"] in table
    seen = sie(url, "watch", "--from", "3", "--count", "2").stdout
    assert [line.split()[0] for line in seen.splitlines()] == ["4", "5"]
    named = sie(url, "watch", "--from", "3", "--count", "2", "-o", "name").stdout
    assert named.split() == ["4", "5"]
    assert "  hub org/weights@000000000000  " in sie(url, "get", "models", "-o", "wide").stdout
    nothing = sie(url, "apply", "-f", "-", "-o", "name", stdin=document.replace("one", "two"))
    assert nothing.stdout == ""
    sie(url, "delete", "model", "none", status=2)
    rows = json.loads(sie(url, "audit", "-n", "3", "-o", "json").stdout)
    assert [row["outcome"] for row in rows] == ["MODEL_NOT_FOUND", "accepted", "accepted"]


def editor(folder: Path, body: str) -> str:
    """A command that edits: Python over `path`, its `text` and `turn`, how often it was opened."""
    program = folder / "editor.py"
    program.write_text(
        "import pathlib, sys\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "text = path.read_text()\n"
        f"seen = pathlib.Path({str(folder)!r}, 'seen')\n"
        "turn = len(list(seen.parent.glob('seen*')))\n"
        "seen.with_name(f'seen{turn}').write_text(text)\n" + body
    )
    return f"{sys.executable} {program}"


@pytest.mark.integration
def test_an_edit_is_shown_written_once_and_nothing_where_nothing_differs(url, tmp_path):
    sie(url, "apply", "-f", "-", stdin=yaml.safe_dump({"kind": "model", **model("m")}))
    as_it_is = editor(tmp_path, "path.write_text(text + '# a thought\\n')")
    assert "nothing was changed" in sie(url, "edit", "model", "m", editor=as_it_is).stderr
    unsaid = editor(tmp_path, "path.write_text(text.replace(\"description: ''\\n\", ''))")
    assert "nothing was changed" in sie(url, "edit", "model", "m", editor=unsaid).stderr
    changes = editor(tmp_path, "path.write_text(text.replace(\"''\", 'new'))")
    trial = sie(url, "edit", "model", "m", "--dry-run", editor=changes)
    assert trial.stdout == '~ model m  description: "" → "new"\n'
    done = sie(url, "edit", "model", "m", "-m", "why", editor=changes)
    assert done.stderr == '~ model m  description: "" → "new"\n'
    assert done.stdout == "put model/m\nepoch 5\n"
    assert "why" in sie(url, "history", "model", "m").stdout
    assert "nothing was changed" in sie(url, "edit", "model", "m", editor=changes).stderr
    empty = editor(tmp_path, "path.write_text('')")
    assert "nothing was changed" in sie(url, "edit", "model", "m", editor=empty).stderr
    # Who changes nothing asks for nothing, and is in nobody's way.
    beside = editor(
        tmp_path,
        "from sie_sdk import SIEConfigClient\n"
        f"SIEConfigClient({url!r}, actor='eve').patch('model', 'm', {{'description': 'hers'}})\n"
        "path.write_text(text + '# a thought\\n')",
    )
    assert "nothing was changed" in sie(url, "edit", "model", "m", editor=beside).stderr


@pytest.mark.integration
def test_a_text_that_is_refused_is_opened_again_with_the_reasons(url, tmp_path):
    sie(url, "apply", "-f", "-", stdin=yaml.safe_dump({"kind": "model", **model("m")}))
    mended = editor(
        tmp_path,
        "turns = [text + 'planet: 1\\npool: none\\n',"
        " text.replace('planet: 1\\npool: none', 'planet: [') + '\\n',"
        " text.replace('planet: [', '').replace(\"''\", 'new')]\n"
        "path.write_text(turns[turn])",
    )
    assert "epoch 5" in sie(url, "edit", "model", "m", editor=mended).stdout
    first, second, third = (tmp_path / f"seen{turn}" for turn in range(3))
    assert first.read_text().startswith("# model m: save")
    assert "the key 'pool' stands twice" in second.read_text()
    assert "is no YAML" in third.read_text()
    given_up = editor(tmp_path, "path.write_text(text if turn > 3 else text + 'planet: 1\\n')")
    result = sie(url, "edit", "model", "m", status=2, editor=given_up)
    assert "# planet: there is no such field; it takes" in (tmp_path / "seen4").read_text()
    assert "planet: 1" in Path(result.stderr.split("your text is kept in ")[1].strip()).read_text()


@pytest.mark.integration
def test_an_edit_over_somebody_elses_change_is_a_conflict_and_keeps_the_text(url, tmp_path):
    sie(url, "apply", "-f", "-", stdin=yaml.safe_dump({"kind": "model", **model("m")}))
    meanwhile = editor(
        tmp_path,
        "from sie_sdk import SIEConfigClient\n"
        f"SIEConfigClient({url!r}, actor='eve').patch('model', 'm', {{'description': 'hers'}})\n"
        "path.write_text(text.replace(\"''\", 'mine'))",
    )
    result = sie(url, "edit", "model", "m", status=4, editor=meanwhile)
    changed, refused = result.stderr.splitlines()
    assert changed.startswith("changed while you edited: 5") and "eve" in changed
    assert "is not what If-Match expects" in refused
    assert "mine" in Path(refused.split("your text is kept in ")[1]).read_text()
    assert "hers" in sie(url, "get", "model", "m", "-o", "yaml").stdout
    for command, told in (("false", "ended with status 1"), ("/none", "set EDITOR")):
        [line] = sie(url, "edit", "model", "m", status=2, editor=command).stderr.splitlines()
        assert told in line and "kept" not in line, "nobody typed anything"


@pytest.mark.integration
@pytest.mark.parametrize("typed", [b"", b"description: caf\xe9\n"], ids=["emptied", "not UTF-8"])
def test_whatever_was_left_of_the_text_is_kept_byte_for_byte(url, tmp_path, typed):
    sie(url, "apply", "-f", "-", stdin=yaml.safe_dump({"kind": "model", **model("m")}))
    fails = editor(tmp_path, f"path.write_bytes({typed!r})\nsys.exit({int(not typed)})")
    told = sie(url, "edit", "model", "m", status=2, editor=fails).stderr
    assert Path(told.split("your text is kept in ")[1].strip()).read_bytes() == typed


@pytest.mark.integration
def test_of_a_text_that_the_editor_removed_nobody_is_told_where_it_is_kept(url, tmp_path):
    sie(url, "apply", "-f", "-", stdin=yaml.safe_dump({"kind": "model", **model("m")}))
    removes = editor(tmp_path, "path.unlink()")
    told = sie(url, "edit", "model", "m", status=2, editor=removes).stderr
    assert "cannot be read" in told and "kept" not in told


class Interrupted(SIEConfigClient):
    """A client whose user presses Ctrl-C once a text was tried (`writes` 1) or written (2)."""

    writes = 0

    def put(self, *told: Any) -> EntityWritten | DryRun:
        answer = super().put(*told)
        self.writes -= 1
        if not self.writes:
            raise KeyboardInterrupt
        return answer


@pytest.mark.integration
@pytest.mark.parametrize(("writes", "known"), [(1, "is as it was"), (2, "may have been changed")])
def test_an_interrupted_edit_says_only_what_is_known(url, tmp_path, capsys, writes, known):
    sie(url, "apply", "-f", str(write(tmp_path, "m.yaml", model("m"))))
    changes = editor(tmp_path, "path.write_text(text.replace(\"''\", 'mine'))").split()
    interrupted = Interrupted(url)
    interrupted.writes = writes
    with interrupted as client, pytest.raises(KeyboardInterrupt):
        edit(client, "model", "m", Terms(), editor=changes)
    told = capsys.readouterr().err
    assert f"model m {known}" in told
    assert "mine" in Path(told.strip().split("your text is kept in ")[1]).read_text()


@pytest.mark.integration
def test_the_exit_status_tells_scripts_what_happened(url, tmp_path):
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert "cannot be reached" in sie(nowhere, "get", "models", status=3).stderr
    assert "mend --url" in sie("nowhere", "get", "models", status=2).stderr
    document = yaml.safe_dump({"kind": "model", **model("m")})
    sie(url, "apply", "-f", "-", "--if-epoch", "99", status=4, stdin=document)
    pools = [{"kind": "pool", "name": f"p{number}"} for number in range(8)]
    sie(url, "apply", "-f", "-", stdin=yaml.safe_dump_all(pools))
    pruned = sie(url, "apply", "-f", "-", "--prune", status=4, stdin=yaml.safe_dump(pools[0]))
    assert "--force REASON" in pruned.stderr
    sie(url, "wait", "--timeout", "0", status=5)
    sie(url, "wait", "--timeout", "0", "--min", "0")
    sie(url, "replicas", status=1)
    sie(url, "apply", "-f", "-", "--wait", "--timeout", "0", status=5, stdin=document)
    bad = document.replace("transformer", "none").replace("encode: {}", "fly: {}")
    assert "tasks.fly" in sie(url, "apply", "-f", "-", status=2, stdin=bad).stderr
    sie(url, "get", "planets", status=2)
    sie(url, "show", "999", status=2)
    sie(url, "diff", "999", status=2)
    sie(url, "diff", status=2)
    sie(url, "apply", "-f", str(tmp_path / "none.yaml"), status=2)
    twice = yaml.safe_dump_all([{"kind": "model", **model("m")}] * 2)
    assert "stands in" in sie(url, "apply", "-f", "-", status=2, stdin=twice).stderr
    doubled = "{kind: pool, name: a, name: b}"
    for text in (
        "",
        "# nothing",
        "- 1",
        "kind: [",
        "{kind: model}",
        "{kind: star, name: x}",
        doubled,
    ):
        sie(url, "apply", "-f", "-", status=2, stdin=text)


def stopped(_work: Work) -> int:
    raise KeyboardInterrupt


def refused(error: SIEError) -> Callable[[Work], int]:
    def command(_work: Work) -> int:
        raise error

    return command


def test_what_cannot_be_done_now_is_not_the_requests_fault_and_what_was_stopped_is_not_done():
    nowhere = "http://127.0.0.1:1"
    assert run_work(nowhere, "table", stopped) == 130
    for code, status in (
        ("LOG_RECOVERY", 3),
        ("STORAGE_FULL", 3),
        ("INTERNAL_SERVER_ERROR", 3),
        ("GATEWAY_TIMEOUT", 5),
        ("MODEL_NOT_FOUND", 2),
        ("ENTITY_CONFLICT", 4),
    ):
        assert run_work(nowhere, "table", refused(error_for(code, "no"))) == status, code


@pytest.mark.integration
def test_verify_says_whether_all_is_as_the_log_says(url, tmp_path):
    sie(url, "apply", "-f", "-", stdin=yaml.safe_dump({"kind": "model", **model("m")}))
    assert sie(url, "verify").stdout.splitlines() == [
        "the snapshot at epoch 4 is the fold of the log",
        "no replica lives that could be asked",
    ]
    assert json.loads(sie(url, "verify", "-o", "json").stdout)["sound"] is True
    with SIEConfigClient(url) as client:
        head = client.head()
    told = ReplicaReport(
        role="gateway",
        id="g1",
        log_id=head["log_id"],
        epoch=head["epoch"],
        hash=head["hash"],
        digest=head["digest"],
        received=head["epoch"],
        state="fresh",
    )
    httpx.post(
        f"{url}/v1/configs/replicas",
        content=msgspec.json.encode(told),
        headers={"content-type": "application/json"},
    ).raise_for_status()
    assert "gateway g1 could not be asked" in sie(url, "verify").stdout
    assert "1 of 1 replica converged" in sie(url, "wait", "--id", "g1", "--timeout", "5").stderr
    sie(url, "wait", "--id", "g2", "--timeout", "0", status=5)


def test_what_a_self_check_found_is_told_line_by_line():
    replica = {"role": "worker", "id": "w1", "sound": True, "problem": ""}
    sound = {"epoch": 7, "sound": True, "problem": None, "replica": replica}
    assert verified_lines(sound)[1] == "worker w1 serves the same"
    lying = replica | {"sound": False, "problem": "another digest at epoch 7"}
    damaged = {"sound": False, "problem": "epoch 3 is damaged", "replica": lying}
    assert verified_lines(sound | damaged) == [
        "epoch 3 is damaged",
        "worker w1: another digest at epoch 7",
    ]


@pytest.mark.integration
def test_both_clients_do_the_same(url):
    with SIEConfigClient(url, actor="größe") as client:
        made = client.put("model", "m", model("m"), Terms(reason="ü", if_absent=True))
        with pytest.raises(FixRequest) as caught:
            client.put("model", "m", model("m"), Terms(if_absent=True))
        assert caught.value.code == "PRECONDITION_FAILED"
        etag = client.get("model", "m")["etag"]
        assert "etag" in made and etag == made["etag"]
        client.patch("model", "m", {"description": "x"}, Terms(if_match=etag))
        trial = client.delete("model", "m", Terms(dry_run=True))
        assert "human" in trial and trial["human"] == ["- model m"]
        assert client.entries(after=made["epoch"] - 1)[0]["body"]["actor"] == "größe"
        assert client.poll(after=1)["epoch"] == made["epoch"] + 1
        assert client.forget("worker", "none") is False
        assert client.verify()["sound"] is True

    async def the_same() -> None:
        async with SIEAsyncConfigClient(url) as client:
            assert [row["model_id"] for row in await client.entities("model")] == ["m"]
            history = await client.history("model", "m", diff=True)
            assert [row["epoch"] for row in history] == [4, 5]
            await client.batch([{"op": "delete", "kind": "model", "key": "m"}])
            await client.revert(4)
            assert (await client.diff(4))["patch"] == []
            found = await client.audit(kind="model", key="m")
            assert len(found["rows"]) == 5
            assert (await client.wait(replicas_min=0, timeout_s=0))["reached"] is True
            assert (await client.replicas())["replicas"] == []
            assert (await client.verify())["replica"] is None
            assert (await client.export(at="3"))["entry"]["body"]["epoch"] == 3

    asyncio.run(the_same())


def test_a_client_without_an_address_or_with_a_dead_one_says_so(monkeypatch):
    monkeypatch.delenv("SIE_CONFIG_URL", raising=False)
    with pytest.raises(ValueError, match="SIE_CONFIG_URL"):
        SIEConfigClient()
    with (
        SIEConfigClient(f"http://127.0.0.1:{free_port()}") as client,
        pytest.raises(SIEConnectionError),
    ):
        client.head()
