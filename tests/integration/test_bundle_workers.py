"""Workers of a bundle in an environment of their own, beside those of the default one.

One cluster, started by the command that a user gives, with small models that were fitted to a
handful of sentences: the right words get the right labels, from the client to the device and back.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.apart import forgotten, made
from tests.support.gliner_models import SENTENCES, write_gliner
from tests.support.live_cluster import LiveCluster, sie

from sie_cli.plan.ports import free_ports

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LABELS = ["person", "location"]


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
