"""What others wrote moves no cursor and hides nothing, in whatever a command shows of it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec
import pytest
from tests.support.config_writer import model
from tests.support.reports import report_at
from tests.support.served import served_config

from sie_cli.local.logs import Wanted, show_logs
from sie_cli.main import main
from sie_cli.show.printing import Form
from sie_schemas.fleet import Head, ModelReport

pytestmark = pytest.mark.integration

NAUGHTY = {
    "clear": "\x1b[2J",
    "link": "\x1b]8;;http://evil.example\x1b\\here\x1b]8;;\x1b\\",
    "title": "\x1b]0;owned\x07",
    "bell": "\x07",
    "eight bits": "\x9b2J",
    "back": "good\rbad",
    "erased": "bad\x08\x08\x08",
    "turned": "\u202egpj.exe\u2066\u2069",
    "marks": "\u200e\u200f\u061c",
    "nothing": "a\u200b\u2060\ufeffb",
    "lines": "one\x0btwo\x0cthree\u2028four\u2029five\x85six",
    "tags": "\U000e0041\U000e0042",
}
HOSTILE = " ".join(NAUGHTY.values())
COMMANDS: list[Sequence[str]] = [
    ("get", "all"),
    ("get", "models", "-o", "wide"),
    ("get", "models", "-o", "yaml"),
    ("get", "models", "-o", "json"),
    ("get", "all", "-o", "name"),
    ("get", "models", "-o", "custom-columns=A:.document.description,B:.document.pool"),
    ("describe", "model", "org/m"),
    ("blame", "model", "org/m"),
    ("blame", "model", "org/m", "-o", "wide"),
    ("history", "model", "org/m"),
    ("history",),
    ("history", "-o", "wide"),
    ("show", "HEAD"),
    ("diff", "HEAD~1", "HEAD"),
    ("audit",),
    ("audit", "-o", "wide"),
    ("audit", "-o", "yaml"),
    ("events",),
    ("events", "-o", "json"),
    ("replicas",),
    ("replicas", "-o", "wide"),
    ("replicas", "-o", "yaml"),
    ("export",),
    ("export", "-o", "json"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        served_config(tmp_path_factory.mktemp("config")) as address,
        httpx.Client(base_url=address, timeout=60) as http,
    ):
        for name in ("x-sie-actor", "x-sie-reason"):
            hostile = {name: _bytes(HOSTILE)}
            refused = http.post("/v1/configs/models", json=model("org/m"), headers=hostile)
            assert refused.status_code == 400, "actors and reasons are printable from the start"
        for text in ("plain", HOSTILE):
            put = http.post("/v1/configs/models", json=model("org/m", description=text))
            assert put.is_success, put.text
        # What is refused is kept in the audit, with its path and the reason.
        http.put(f"/v1/configs/models/{quote(HOSTILE)}", json=model(HOSTILE))
        head = msgspec.convert(http.get("/v1/configs/epoch").json(), Head)
        failed = {"org/m": ModelReport(state="failed", reason=HOSTILE)}
        told = report_at(head, reason=HOSTILE, state="stale", models=failed)
        form = {"content-type": "application/json"}
        report = http.post("/v1/configs/replicas", content=told, headers=form)
        assert report.is_success, report.text
        yield address


def _bytes(text: str) -> bytes:
    """As a header holds it: what ends one is left out."""
    return "".join(each for each in text if ord(each) >= 0x20 and ord(each) != 0x7F).encode()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_lets_through_what_a_terminal_obeys(
    command: Sequence[str],
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["sie", *command, f"--url={url}"])
    with pytest.raises(SystemExit):
        main()
    out, err = capfd.readouterr()
    assert len(out) > 10, err
    assert _obeyed(out + err) == set()


@pytest.mark.parametrize("form", ["table", "wide", "json", "yaml", "name"])
def test_nor_do_the_lines_of_logs(
    form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = {"ts": "2026-01-01T00:00:00Z", "level": "error", "role": "gateway", "id": "g1"}
    told = line | {"logger": HOSTILE, "msg": HOSTILE, "model": HOSTILE, HOSTILE: HOSTILE}
    escaped = json.dumps(told)
    raw = json.dumps(told, ensure_ascii=False).replace("\r", "").replace("\x85", "")
    (tmp_path / "gateway.log").write_text(f"{escaped}\n{raw}\n{HOSTILE}\n", encoding="utf-8")
    show_logs(tmp_path, Wanted(), 100, Form(form), follows=False)
    assert _obeyed("".join(capfd.readouterr())) == set()


def _obeyed(text: str) -> set[str]:
    return {each for each in text if not each.isprintable() and each not in "\n\u200d"}
