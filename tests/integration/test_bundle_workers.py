"""Workers of a bundle in an environment of their own, beside those of the default one.

One cluster, started by the command that a user gives, with small models that were fitted to a
handful of sentences: the right words get the right labels, from the client to the device and back.
"""

import asyncio
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.apart import forgotten, made
from tests.support.gliner_models import SENTENCES, write_gliner
from tests.support.live_cluster import MODEL, LiveCluster, eventually, sie

from sie_cli.plan.ports import free_ports

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LABELS = ["person", "location"]
ROOT = Path(__file__).parents[2]
EXTRACT = "/v1/extract/test/words"
HOSTILE: tuple[tuple[str, list[str]], ...] = (
    ("", LABELS),
    ("e\u0301\u200d👩\u200d👩\u200d👧 \u0000 ก\u0e33", LABELS),
    ("Tim Cook " * 2000, LABELS),
    ("Tim Cook", ["<<ENT>>"]),
    ("Tim Cook", ["person"] * 2),
    ("Tim Cook", [f"label {number}" for number in range(200)]),
)
"""Texts and labels that a request may hold, and that nobody else may suffer for."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fitted model."""
    where = tmp_path_factory.mktemp("gliner")
    made("gliner")
    with forgotten("gliner"):
        write_gliner(where, "uni-span", fitted_to=SENTENCES)
        yield where / "model"


@pytest.fixture(scope="module")
def cluster(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveCluster]:
    """A cluster whose bundle has a worker, and the model added to it by its folder."""
    data = tmp_path_factory.mktemp("cluster")
    port = free_ports(1, adjacent=2)[0]
    asked = ("--port", str(port), "--devices", "1", "--bundle", "gliner", "--detach")
    started = sie("up", "--data", str(data), *asked)
    assert started.returncode == 0, started.stderr + started.stdout
    # It was there already: nothing is installed twice.
    assert "making the environment" not in started.stdout + started.stderr
    try:
        cluster = LiveCluster(data=data, port=port)
        added = sie("add", str(folder), "--name", "test/words", "--url", cluster.config_url)
        assert added.returncode == 0, added.stderr + added.stdout
        yield cluster
    finally:
        stopped = sie("down", "--data", str(data))
    assert stopped.returncode == 0, stopped.stderr


def extract(cluster: LiveCluster, *texts: str, **request: Any) -> httpx.Response:
    return httpx.post(
        f"{cluster.gateway_url}/v1/extract/test/words",
        json={"items": [{"text": text} for text in texts], **request},
        timeout=60,
    )


def test_one_worker_answers_labels_of_the_request_and_the_other_encodes(cluster):
    for text, entities in SENTENCES:
        answer = extract(cluster, text, params={"labels": LABELS})
        assert answer.status_code == 200, answer.text
        (item,) = answer.json()["items"]
        found = [(one["text"], one["label"]) for one in item["entities"]]
        assert found == list(entities)
        for one in item["entities"]:
            assert text[one["start"] : one["end"]] == one["text"]
            assert 0.5 < one["score"] <= 1
    assert cluster.encode("Tim Cook").status_code == 200
    roles = {process["role"] for process in cluster.status()["processes"]}
    assert {"worker-0", "server-0", "worker-gliner", "server-gliner"} <= roles


def test_a_bundle_that_nobody_runs_is_told_with_the_command(cluster):
    """The message is the one of every cold request, and says what to do."""
    with httpx.Client(base_url=cluster.config_url, timeout=60) as config:
        bundle = {"name": "nobodys", "backends": ["echo"]}
        assert config.post("/v1/configs/bundles", json=bundle).is_success
        held = config.get("/v1/configs/models/test/words").json()["document"]
        model = {**held, "model_id": "test/cold", "profiles": {"default": {"backend": "echo"}}}
        model["tasks"] = {"encode": {}}
        written = config.post("/v1/configs/models", json=model)
        assert written.is_success, written.text

    def asked() -> httpx.Response:
        url = f"{cluster.gateway_url}/v1/encode/test/cold"
        return httpx.post(url, json={"items": [{"text": "a"}]}, timeout=30)

    answer = eventually(lambda: (found := asked()).status_code == 202 and found)
    assert "`sie up --bundle nobodys` starts workers of that bundle" in answer.json()["message"]


async def test_a_storm_of_labels_and_vectors_keeps_each_answer_its_own(cluster):
    """Requests that differ in labels alone never share an answer, and a hostile one fails alone."""
    chance = random.Random(16)
    vector = cluster.encode("Tim Cook").json()["items"][0]["dense"]["values"]

    async def entities(client: httpx.AsyncClient) -> None:
        text, expected = chance.choice(SENTENCES)
        labels = chance.choice([LABELS, LABELS[::-1], LABELS[:1], LABELS[1:]])
        answer = await client.post(EXTRACT, json=_extract(text, labels=labels))
        assert answer.status_code == 200, answer.text
        found = [(one["text"], one["label"]) for one in answer.json()["items"][0]["entities"]]
        assert found == [(words, label) for words, label in expected if label in labels]

    async def encoded(client: httpx.AsyncClient) -> None:
        body = {"items": [{"text": "Tim Cook"}]}
        answer = await client.post(f"/v1/encode/{MODEL}", json=body)
        assert answer.json()["items"][0]["dense"]["values"] == pytest.approx(vector, abs=1e-5)

    async def hostile(client: httpx.AsyncClient) -> None:
        text, labels = chance.choice(HOSTILE)
        answer = await client.post(EXTRACT, json=_extract(text, labels=labels))
        assert answer.status_code in {200, 400}, answer.text
        if answer.status_code == 200:
            for one in answer.json()["items"][0]["entities"]:
                assert text[one["start"] : one["end"]] == one["text"]
        else:
            assert answer.json()["detail"]["field"]

    async with (
        httpx.AsyncClient(base_url=cluster.gateway_url, timeout=60) as client,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(60):
            group.create_task(chance.choice([entities, entities, encoded, hostile])(client))


def _extract(text: str, **params: Any) -> dict[str, Any]:
    return {"items": [{"text": text}], "params": params}


def test_the_guide_shows_what_is_answered(cluster):
    """Both records of the page: of a model with labels of its own, and of the request's labels."""
    page = (ROOT / "docs/guides/extract.md").read_text()
    fixed, any_label = map(json.loads, re.findall(r"```json\n(.*?)```", page, re.DOTALL))
    (asked,) = re.findall(r"(/v1/extract/spacy/\S+).*?-d '(.*?)'", page, re.DOTALL)
    url, body = asked
    answer = httpx.post(cluster.gateway_url + url, json=json.loads(body), timeout=60).json()
    assert fixed.items() <= answer["items"][0]["entities"][-1].items()
    answer = extract(cluster, SENTENCES[0][0], params={"labels": LABELS}).json()
    found = answer["items"][0]["entities"][-1]
    assert {**found, "score": 0} == {**any_label, "score": 0}
    assert found["score"] > 0.9
