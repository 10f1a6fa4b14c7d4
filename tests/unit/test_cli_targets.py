"""Contexts, moments as people say them, paths into JSON, and tables that fit their terminal."""

import json
import os
import re
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_cli.access.contexts import Context, Contexts, contexts_file, read_contexts, write_contexts
from sie_cli.access.named_cluster import target_of
from sie_cli.config.config_work import run_work
from sie_cli.main import main
from sie_cli.show.habits import habit_of
from sie_cli.show.printing import Form, print_rows, print_value
from sie_cli.texts.json_paths import read_path, selected
from sie_cli.texts.relative_moments import moment_of
from sie_schemas.errors import FixRequest, Later

NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=timezone(timedelta(hours=2)))
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
PROD = Context(url="http://prod:8081")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    for name in [name for name in os.environ if name.startswith("SIE_")]:
        monkeypatch.delenv(name)


def kept() -> Path:
    found = contexts_file()
    assert found is not None
    return found


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr("sys.argv", ["sie", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_contexts_are_kept_used_listed_and_forgotten(monkeypatch, capsys, tmp_path):
    (tmp_path / "token").write_text("secret\n")
    told = ("--url", "https://prod:8081/", "--token-file", str(tmp_path / "token"))
    assert run(monkeypatch, "context", "add", "prod", *told) in {0, None}
    assert kept().stat().st_mode & 0o077 == 0
    assert "secret" not in kept().read_text()
    with pytest.raises(FixRequest, match="no cluster is named"):
        target_of("", None, "")
    assert run(monkeypatch, "context", "use", "prod") in {0, None}
    found = target_of("", None, "")
    assert (found.url, found.token, found.context) == ("https://prod:8081", "secret", "prod")
    capsys.readouterr()
    run(monkeypatch, "context", "ls", "-o", "json")
    assert json.loads(capsys.readouterr().out)[0]["in_use"] == "*"
    run(monkeypatch, "context", "rm", "prod")
    assert read_contexts() == Contexts()


def test_what_is_said_goes_before_what_is_in_use_and_two_are_never_chosen_between(monkeypatch):
    write_contexts(Contexts(contexts={"prod": PROD, "dev": PROD}, in_use="prod"))
    assert target_of("http://other", None, "").url == "http://other"
    monkeypatch.setenv("SIE_CONTEXT", "dev")
    assert target_of("", None, "").context == "dev"
    assert target_of("", None, "prod").context == "prod"
    monkeypatch.setenv("SIE_CONFIG_URL", "http://variable")
    assert target_of("", None, "").url == "http://variable"
    for name in ("SIE_CONFIG_URL", "SIE_CONTEXT"):
        monkeypatch.delenv(name)
    for url, data, context in (("u", Path("d"), ""), ("u", None, "prod"), ("", Path("d"), "prod")):
        with pytest.raises(FixRequest, match="not both"):
            target_of(url, data, context)
    monkeypatch.setattr("sie_cli.access.state.load", lambda _folder: object())
    with pytest.raises(FixRequest, match="two clusters could be meant"):
        target_of("", None, "")


def test_a_file_of_contexts_that_cannot_be_meant_is_refused_by_its_name():
    kept().parent.mkdir(parents=True)
    for text in ("{", '{"contexts": 1}', '{"in_uze": "x"}'):
        kept().write_text(text)
        with pytest.raises(FixRequest, match=r"contexts\.json"):
            read_contexts()
    for name in ("", "-x", "a/b", "x" * 64, "a b"):
        with pytest.raises(FixRequest, match="no name"):
            Contexts().with_one(name, PROD)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("17", "17"),
        ("HEAD", "40"),
        ("HEAD~1", "39"),
        ("head~", "39"),
        ("HEAD~39", "1"),
        ("now", "2026-11-30T10:00:00.000000Z"),
        ("5m", "2026-11-30T09:55:00.000000Z"),
        ("90 min ago", "2026-11-30T08:30:00.000000Z"),
        ("2h", "2026-11-30T08:00:00.000000Z"),
        ("1w", "2026-11-23T10:00:00.000000Z"),
        ("yesterday", "2026-11-29T10:00:00.000000Z"),
        ("2026-11-30", "2026-11-29T22:00:00.000000Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
    ],
)
def test_moments_are_what_people_mean(text, meant):
    assert moment_of(text, now=NOW, head=lambda: 40) == meant


@pytest.mark.parametrize("text", ["teatime", "tomorrow", "HEAD^", "5x", "1.2.2026"])
def test_what_is_no_moment_is_refused_with_the_forms_that_are(text):
    with pytest.raises(FixRequest, match="HEAD~1, 5m, yesterday"):
        moment_of(text, now=NOW, head=lambda: 9)


@pytest.mark.parametrize("text", ["HEAD~40", "HEAD~999999999", "2026-02-30", "999999w"])
def test_a_moment_that_never_was_is_refused(text):
    with pytest.raises(FixRequest):
        moment_of(text, now=NOW, head=lambda: 40)


@given(st.integers(0, 100_000), st.sampled_from("smhd"))
def test_an_ago_is_a_whole_time_in_the_past(number, unit):
    written = moment_of(f"{number}{unit}", now=NOW, head=lambda: 1)

    seconds = number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert datetime.fromisoformat(written) == (NOW - timedelta(seconds=seconds)).astimezone(UTC)


ROWS: list[dict[str, object]] = [{"name": "a", "n": 1}, {"name": "b"}]
VALUE = {"items": ROWS, "of": {"x-y": [[1], [2, 3]]}}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("{.items[*].name}", ["a", "b"]),
        ("$.items[0].n", [1]),
        (".items[-1].name", ["b"]),
        (".items[*].n", [1]),
        ("{.of['x-y'][1][*]}", [2, 3]),
        (".of.*[0]", [[1]]),
        (".none.of.this", []),
        (".items[9]", []),
        ("", [VALUE]),
    ],
)
def test_a_path_selects_what_it_names(path, found):
    assert selected(VALUE, read_path(path)) == found


@pytest.mark.parametrize("path", ["items", ".a[", ".a[?(@.b)]", ".a..b", ".a[1:2]", "{.a} {.b}"])
def test_a_path_that_is_not_understood_is_refused_where_it_stops(path):
    with pytest.raises(FixRequest, match="not understood from"):
        read_path(path)


def test_parts_of_what_the_service_said_are_printed(capsys):
    print_value(VALUE, Form("jsonpath={.items[*].name}"))
    print_rows(ROWS, ["name"], Form("custom-columns=NAME:.name,N:.n"))
    assert capsys.readouterr().out.split() == ["a", "b", "NAME", "N", "a", "1", "b", "-"]


def test_a_table_fits_its_terminal_and_is_whole_in_a_pipe(capsys, monkeypatch):
    rows = [{"name": "x" * 200, "state": "fresh"}]
    print_rows(rows, ["name", "state"], Form.TABLE)
    assert "x" * 200 in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_rows(rows, ["name", "state"], Form.TABLE)
    lines = _ESCAPES.sub("", capsys.readouterr().out).splitlines()
    assert len(lines) > 3
    assert max(len(line) for line in lines) <= 60
    assert "".join(line.split()[0] for line in lines[1:]) == "x" * 200


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("list",), "`sie get KIND` lists"),
        (("encode",), "requests go to a gateway"),
        (("pull",), "`sie add ORG/NAME` registers a model"),
        (("pools",), "`sie get pools`"),
        (("models", "list"), "`sie get models`"),
        (("log", "status"), "`sie status`"),
        (("dlq", "list"), ""),
        (("token", "create"), ""),
        (("context", "remove"), ""),
    ],
    ids=[
        "list",
        "encode",
        "pull",
        "pools",
        "models list",
        "log status",
        "dlq list",
        "token create",
        "context remove",
    ],
)
def test_a_habit_is_answered_where_the_word_would_be_a_command_of_sie(typed, told):
    found = habit_of(typed, f"No such command '{typed[-1]}'.")
    assert found.startswith(told) if told else found == ""


@pytest.mark.parametrize("status", [0, 503], ids=["silent", "answered"])
def test_only_where_nobody_answers_the_context_is_named(capsys, status):
    write_contexts(Contexts(contexts={"prod": PROD}, in_use="prod"))

    def told(work: object) -> int:
        error = Later("not now")
        error.answered_status = status
        raise error

    assert run_work("", "table", told) != 0
    assert ("the context 'prod'" in capsys.readouterr().err) is (status == 0)
