"""The code that images, the CI and workflows run is decided in the repository, by digest.

Somebody who can move a tag, publish a new release of a dependency, or answer in the place of an
index, changes nothing of what is installed.
"""

import copy
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import helm_python
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.support.apart import made
from tests.support.chart import CHART, containers, pod_specs, rendered, values_of
from tests.support.locked import LOCKS, disagreements, entries, locked, project

from sie_catalog.bundles import APART
from sie_cli.plan.bundle_environment import lock_of

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deploy/docker/Dockerfile").read_text()
REFUSED = {
    "gliner": {
        # Its answers on 5.16 and on ours are equal to the last bit (D-070).
        ("gliner", "<5.17.0,>=4.51.3", "transformers"),
        # Asked for by its metadata, imported by nothing that we call.
        ("gliclass", ">=1.0.0", "scikit-learn"),
    }
}
DIGEST = "sha256:" + "0" * 64
ROLES = ("config", "gateway", "worker", "server")
IMAGES = (*ROLES, *(f"server-{bundle}" for bundle in APART))
VALUES = ("", *sorted(path.name for path in CHART.glob("values-*.yaml")))


def floating(image: str) -> bool:
    """True if an image is named by anything but a digest."""
    return re.fullmatch(r"[^@\s]+@sha256:[0-9a-f]{64}", image) is None


# ---- images and actions -------------------------------------------------------------------------


def test_every_base_of_an_image_is_a_digest():
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE))
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    outside = [base for base in bases if base not in stages]
    assert outside
    assert not [base for base in outside if floating(base)]
    # A frontend is an image too, and so is whatever a build argument may name.
    assert "# syntax=" not in DOCKERFILE
    assert not [base for base in bases if "$" in base]
    mounted = re.findall(r"from=(\w+)", DOCKERFILE)
    assert set(mounted) <= stages


def test_every_image_that_compose_does_not_build_is_a_digest():
    services = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]
    fetched = [each["image"] for each in services.values() if "build" not in each]
    assert fetched
    assert not [image for image in fetched if floating(image)]


@pytest.mark.parametrize("file", VALUES)
def test_every_image_that_the_chart_fetches_is_a_digest(file):
    own = {"registry": "registry.test/sie", "digests": dict.fromkeys(IMAGES, DIGEST)}
    images = [
        container["image"]
        for _, template in pod_specs(rendered(values_of(file, {"image": own})))
        for container in containers(template)
    ]
    assert images
    assert not [image for image in images if floating(image)]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"image": {"registry": "registry.test"}}, "image.digests.[a-z]+ is wanted"),
        ({"image": {"digests": {"config": "latest"}}}, "digests"),
        ({"nats": {"image": "nats:2.15-alpine"}}, "image"),
        ({"nats": {"image": "nats:latest@sha256:abc"}}, "image"),
    ],
    ids=["own by tag", "no digest", "broker by tag", "half a digest"],
)
def test_the_chart_refuses_an_image_by_tag(more, said):
    with pytest.raises(helm_python.HelmError, match=said):
        rendered(values_of("", more))


def test_every_action_of_a_workflow_is_a_commit():
    used = []
    for path in [*ROOT.glob("deploy/**/*.yaml"), *ROOT.glob(".github/**/*.y*ml")]:
        used += re.findall(r"uses: *(\S+)", path.read_text())
    assert used
    assert not [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)]


def test_a_workflow_installs_the_release_that_it_was_written_for():
    text = (ROOT / "deploy/gitops/workflow.yaml").read_text()
    wanted = f"'{project()['name']}[cli]=={project()['version']}'"
    assert set(re.findall(r"pip install (\S+)", text)) == {wanted}


# ---- packages -----------------------------------------------------------------------------------


def pip_runs() -> Iterator[str]:
    """Each installation of the Dockerfile."""
    flat = DOCKERFILE.replace("\\\n", " ")
    for line in re.findall(r"^RUN (.*)$", flat, flags=re.MULTILINE):
        yield from re.findall(r"pip install [^;&]*", line)


def test_an_image_installs_by_hash_or_from_no_index_at_all():
    runs = [*pip_runs()]
    assert len(runs) == 1 + 2 * len(ROLES) + 1 + len(APART)
    for run in runs:
        assert "--require-hashes" in run or "--no-index" in run, run
        for file in re.findall(r"-r (\S+)", run):
            folder = lock_of("any").parent if file.startswith("/bundles/") else ROOT / "locks"
            assert (folder / Path(file).name).is_file()


@pytest.mark.parametrize("bundle", sorted(APART))
def test_an_image_of_a_bundle_is_the_server_and_the_packages_of_its_lock_alone(bundle):
    stage = DOCKERFILE.partition(f"FROM server AS server-{bundle}\n")[2].partition("\nFROM ")[0]
    assert f"--no-deps --require-hashes -r /bundles/{bundle}.txt" in stage
    assert stage.rstrip().endswith("USER 10001:10001")


@pytest.mark.parametrize("bundle", sorted(APART))
def test_what_a_bundle_is_laid_over_has_what_its_packages_ask_for(bundle):
    """A package of a bundle may refuse a release of ours: each such refusal is known by name."""
    below = {each.name: each.version for each in locked("server", "torch-cuda")}
    lines = lock_of(bundle).with_suffix(".in").read_text().splitlines()
    bounds = {line.name: line.specifier for line in map(Requirement, lines)}
    held = {each.name: each.version for each in entries(lock_of(bundle))}
    assert bounds.keys() == held.keys()
    assert all(bounds[name].contains(version) for name, version in held.items())
    packages = str(made(bundle).packages)
    refused = set()
    for found in metadata.distributions(path=[packages]):
        assert held[canonicalize_name(found.name)] == found.version
        for wanted in map(Requirement, found.requires or ()):
            name = canonicalize_name(wanted.name)
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                continue
            version = held.get(name) or below.get(name)
            if version is None or not wanted.specifier.contains(version):
                refused.add((canonicalize_name(found.name), str(wanted.specifier), name))
    assert refused == REFUSED[bundle], "run the bundle's tests again, then mend this table"


@pytest.mark.parametrize("role", ROLES)
def test_an_image_installs_the_extras_that_its_lock_stands_for(role):
    stage = DOCKERFILE.partition(f" AS {role}\n")[2].partition("\nFROM ")[0]
    extras = re.search(r"\.whl\)\[([\w,]+)\]", stage)
    assert extras is not None
    assert tuple(extras[1].split(",")) == LOCKS[role]
    assert f"-r /locks/{role}.txt" in stage


@pytest.mark.parametrize("lock", LOCKS)
def test_what_pyproject_asks_for_is_what_is_locked(lock):
    assert [*disagreements(project(), lock)] == [], "python locks/renew.py mends this"


@pytest.mark.parametrize(
    ("extra", "requirement", "said"),
    [
        ("runtime", "left-pad>=1", "left-pad>=1 is not in"),
        ("runtime", "uvicorn>=99", "wanted is uvicorn>=99"),
    ],
    ids=["another package", "another version"],
)
def test_a_lock_that_is_behind_is_seen(extra, requirement, said):
    told = copy.deepcopy(project())
    told["optional-dependencies"][extra].append(requirement)
    assert [found for found in disagreements(told, "gateway") if said in found]


def test_a_package_that_nothing_asks_for_any_more_is_seen():
    told = copy.deepcopy(project())
    told["optional-dependencies"]["gateway"] = ["sie-cluster[runtime]", "fastapi>=0.115"]
    assert [*disagreements(told, "gateway")] == [
        "gateway.txt holds wsproto, which nothing asks for"
    ]


def test_an_image_runs_the_versions_that_ci_has_tested():
    tested = {(each.name, each.version) for each in locked("dev", "torch-cuda")}
    for lock in [*LOCKS, "build"]:
        assert {(each.name, each.version) for each in locked(lock)} <= tested


def test_both_builds_of_torch_are_one_release():
    (cpu,) = locked("torch-cpu")
    (cuda,) = [each for each in locked("torch-cuda") if each.name == "torch"]
    assert cpu.version == f"{cuda.version}+cpu"


def test_no_lock_says_where_packages_come_from():
    for path in [*(ROOT / "locks").glob("*.txt"), *map(lock_of, APART)]:
        text = path.read_text()
        assert not re.search(r"https?:|file:|--(extra-)?index|--find-links|--trusted", text), path
