"""The promises of the documents, run: the README's code, and the demo."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from tests.support.installed import base_installation
from tests.support.live_cluster import LiveCluster, sie

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def users_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the SDK and nothing else."""
    return base_installation(tmp_path_factory.mktemp("installed"))


def _run(python: Path, code: str, cluster: LiveCluster, folder: Path) -> str:
    done = subprocess.run(
        [str(python), "-W", "error", "-c", code],
        cwd=folder,
        env={"SIE_BASE_URL": cluster.gateway_url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_notebook_runs_where_only_the_sdk_is_installed(live_cluster, users_python):
    notebook = json.loads((ROOT / "examples/tenants.ipynb").read_text())
    cells = ["".join(each["source"]) for each in notebook["cells"] if each["cell_type"] == "code"]
    assert len(cells) > 4
    assert "LoRA" in _run(users_python, "\n".join(cells), live_cluster, ROOT)


def test_the_readmes_code_runs_where_only_the_sdk_is_installed(
    live_cluster, users_python, tmp_path
):
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    told = _run(users_python, code, live_cluster, tmp_path)
    shape, moved, code_of_unknown, order, entities = told.splitlines()
    assert shape.startswith("(384,) ")
    assert float(moved.removeprefix("moved by ")) > 0
    assert code_of_unknown == "ADAPTER_NOT_FOUND"
    assert order == "['reset', 'rain']"
    assert "('Berlin', 'GPE')" in entities


def test_the_demo_tells_the_whole_story_and_leaves_nothing(tmp_path):
    told = sie("demo", "-o", "json", environment={"TMPDIR": str(tmp_path)})
    assert told.returncode == 0, told.stderr + told.stdout
    story = json.loads(told.stdout)
    assert story["ok"]
    assert [step["step"] for step in story["steps"]] == [
        "cluster started",
        "encode",
        "score",
        "extract",
        "picture",
        "lora",
        "unknown adapter",
        "model added live",
        "history",
        "worker killed",
    ]
    assert all(step["ok"] for step in story["steps"])
    assert not list(tmp_path.glob("sie-demo-*"))


def test_a_demo_that_fails_keeps_the_logs_that_it_points_at(tmp_path):
    told = sie("demo", environment={"TMPDIR": str(tmp_path), "SIE_CLUSTER_READY_S": "0.001"})
    assert told.returncode == 1
    assert "was not ready within 0.001 s. The end of " in told.stdout
    [folder] = tmp_path.glob("sie-demo-*")
    assert f"its folder is kept, with the logs: {folder / 'logs'}" in told.stdout.replace("\n", "")
    assert (folder / "logs" / "nats.log").exists()
    assert sie("status", "--data", str(folder)).stdout == f"no cluster runs in {folder}\n"
