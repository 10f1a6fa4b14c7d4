"""Dockerfile and compose file: valid, and true to the processes that they start."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from tests.support.role_settings import ROLES, read_settings

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
COMPOSE = ROOT / "deploy/compose/compose.yaml"
BIN = Path(sys.executable).parent


def stages() -> dict[str, str]:
    """The text of each named stage."""
    parts = re.split(r"^FROM \S+ AS (\w+)$", DOCKERFILE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def environment(text: str) -> dict[str, str]:
    """The variables that a stage's ENV lines set."""
    blocks = re.findall(r"^ENV ((?:.*\\\n)*.*)$", text, flags=re.MULTILINE)
    return {name: value for block in blocks for name, value in re.findall(r"(\w+)=(\S+)", block)}


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_finds_nothing():
    # DL3013, DL3042: what is fetched is fetched by its hash; no cache is kept (ENV).
    run(BIN / "hadolint", "--ignore", "DL3013", "--ignore", "DL3042", DOCKERFILE)


def test_the_compose_file_is_one():
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


@pytest.mark.parametrize("role", ROLES)
def test_an_image_starts_its_role_with_settings_that_the_role_reads(role):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = stages()[role]
    assert f'ENTRYPOINT ["sie-{role}"]' in text
    assert f"sie-{role}" in project["scripts"]
    extras = re.search(r"\.whl\)\[([\w,]+)\]", text)
    assert extras is not None
    assert role in extras[1].split(",")
    assert set(extras[1].split(",")) <= set(project["optional-dependencies"])
    assert "USER 10001:10001" in text
    settings = read_settings(role, environment(text))
    assert f"EXPOSE {settings.port}" in text
    assert settings.host == "0.0.0.0"


def test_compose_gives_settings_that_the_roles_read_on_top_of_their_images():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for role in ROLES:
        service = services[role]
        assert service["build"]["target"] == role
        given = {name: str(value) for name, value in service["environment"].items()}
        settings = read_settings(role, environment(stages()[role]) | given)
        test = " ".join(service["healthcheck"]["test"])
        assert f":{settings.port}/" in test


def test_the_monitor_of_the_broker_in_compose_is_for_its_own_container_alone():
    told = (COMPOSE.parent / "nats.conf").read_text()
    assert re.findall(r"^(?:http|monitor)\w*:.*$", told, re.MULTILINE) == ['http: "127.0.0.1:8222"']
    test = yaml.safe_load(COMPOSE.read_text())["services"]["nats"]["healthcheck"]["test"]
    assert "http://127.0.0.1:8222/" in " ".join(test)


def test_everything_that_compose_mounts_from_the_checkout_is_there():
    for service in yaml.safe_load(COMPOSE.read_text())["services"].values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert not source.startswith(".") or (COMPOSE.parent / source).is_file(), mount


def test_the_build_context_holds_what_the_wheel_needs_and_no_more():
    kept = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        name.partition("/")[0]
        for line in re.findall(r"^COPY (?!--)(.*) \S+$", stages()["wheel"], flags=re.MULTILINE)
        for name in line.split()
    }
    # Bound from the context while an image is made, and not copied.
    assert set(re.findall(r"=bind,source=(\w+)", DOCKERFILE.read_text())) <= copied
    assert copied == kept
    assert all((ROOT / name).exists() for name in kept)
