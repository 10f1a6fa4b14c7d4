"""Values, files and names of the chart that pages tell: each is there, and the command renders.

*shell.* Reads the text of the pages, and renders the chart by Helm as a library. Its values are
those of the schema, the names those of a release as the page installs it.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.chart import CHART, chart, rendered, values_of
from tests.support.chart_page import leaves, schema

from sie_core.nearest import advice

ROOT = CHART.parents[2]
PAGES = sorted([*ROOT.glob("docs/operations/*.md"), *ROOT.glob("docs/guides/*.md")])
INSTALL = ROOT / "docs/operations/install.md"
PATHS = [path.split(".") for path, _ in leaves(schema())]
VALUES = {".".join(path[:depth]) for path in PATHS for depth in range(1, len(path) + 1)}
OF_KIND = {each.partition("KIND.")[2] for each in VALUES} - {""}
"""Values below one kind of worker: pages on these name no kind."""
TOLD = re.compile(r"`([a-zA-Z]\w*(?:\.[a-zA-Z]\w*)+)(?:[:=][^`]*)?`")
FILE = re.compile(r"\.(?:yaml|json|toml|conf|crt|key|log|py|md|txt|sqlite)$")
COMMAND = re.compile(r"(?<!\w)(?:helm|kubectl) [a-z-][^`]*")
FLAGS = {
    "helm": {"--install", "--namespace", "--create-namespace", "--set", "-f"}
    | {"--reuse-values", "--reset-then-reuse-values"},
    "kubectl": {"-n", "-l", "-c", "--from", "--from-literal", "--cascade"},
}


def commands() -> list[tuple[str, str]]:
    """(page, command) of Helm and of kubectl, with its lines joined."""
    found = []
    for page in PAGES:
        text = re.sub(r"\\\n\s*", "", page.read_text())
        fenced = [
            line
            for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
            for line in block.splitlines()
        ]
        inline = [re.sub(r"\s+", " ", each) for each in re.findall(r"`([^`]+)`", text)]
        found += [
            (page.name, each.strip()) for each in [*fenced, *inline] if COMMAND.match(each.strip())
        ]
    return found


def wrong_paths(text: str, *, every: bool) -> list[str]:
    """Each dotted word that ought to be a value and is none. Not `every`: of those alone that
    begin as a value does."""
    told = [*TOLD.findall(text), *re.findall(r"--set ([\w.]+)=", text)]
    tops = {each for each in VALUES if "." not in each}
    return [
        f"{each}: {advice(each, VALUES | OF_KIND)}"
        for each in told
        if not FILE.search(each) and (every or each.partition(".")[0] in tops)
        if each not in VALUES | OF_KIND and _without_kind(each) not in VALUES
    ]


def _without_kind(path: str) -> str:
    """A path with `KIND` where a page has a kind of worker, or another name of its own."""
    parts = path.split(".")
    return ".".join([parts[0], "KIND", *parts[2:]])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_value_that_a_page_tells_is_one_of_the_chart(page):
    text = page.read_text()
    assert wrong_paths(text, every=False) == []
    if page == INSTALL:
        assert wrong_paths(text.partition("\n## Kubernetes\n")[2], every=True) == []


def test_a_value_that_is_not_there_is_found():
    assert wrong_paths("`gateway.autoscalling.max: 3`", every=False)
    assert wrong_paths("`gatway.replicas`", every=True)
    assert wrong_paths("--set hfToken.crate=true", every=False)
    assert not wrong_paths(
        "`workers.l4.scaling.max`, `scaling.max`, `image.byTag: true`", every=True
    )


def test_every_command_of_a_page_has_known_flags_and_files_and_names_its_namespace():
    told = commands()
    assert len(told) >= 8
    wrong = []
    for page, command in told:
        # What runs in a pod, and what reads it, is another program's.
        mine = re.split(r" (?:--|\|) ", command)[0]
        words = shlex.split(mine.replace("…", "values.yaml"), comments=True)
        flags = [word.partition("=")[0] for word in words if word.startswith("-")]
        wrong += [f"{page}: {each}: {command}" for each in flags if each not in FLAGS[words[0]]]
        files = [words[at + 1] for at, word in enumerate(words) if word == "-f"]
        own = [each for each in files if each.startswith("deploy/")]
        wrong += [f"{page}: {each}" for each in own if not (ROOT / each).exists()]
        charts = [word for word in words[1:] if word.startswith("deploy/helm") and word not in own]
        wrong += [f"{page}: {each}" for each in charts if not (ROOT / each / "Chart.yaml").exists()]
        names_one = {"-n", "--namespace"} & set(flags)
        if len(words) > 2 and not names_one:
            wrong.append(f"{page}: no namespace is named: {command}")
    assert wrong == []


def test_the_installation_renders_as_the_page_has_it():
    [install] = [each for _, each in commands() if each.startswith("helm upgrade --install")]
    words = shlex.split(install)
    given: dict[str, Any] = {}
    for at, word in enumerate(words):
        if word == "--set":
            path, _, value = words[at + 1].partition("=")
            _put(given, path.split("."), yaml.safe_load(value))
    files = [Path(words[at + 1]).name for at, word in enumerate(words) if word == "-f"]
    images = {"config", "gateway", "worker", "server"}
    digests = dict.fromkeys(images, f"sha256:{'0' * 64}")
    given["image"] = {"registry": "registry.example.com", "digests": digests}
    assert files == ["values-gke.yaml", "images.yaml"]
    kinds = {each["kind"] for each in rendered(values_of(files[0], given))}
    assert {"Deployment", "StatefulSet", "ScaledObject", "CronJob"} <= kinds


def test_every_fence_of_values_is_one_that_the_chart_takes():
    section = INSTALL.read_text().partition("\n## Kubernetes\n")[2]
    fences = [yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)]
    assert fences
    for fence in fences:
        assert rendered(values_of("", fence))


def test_the_objects_that_commands_name_are_in_the_release():
    values = values_of("values-gke.yaml")
    texts = chart().render(values, name="sie-cluster", namespace="sie")
    made = {
        (each["kind"].lower(), each["metadata"]["name"])
        for name, text in texts.items()
        if name.endswith(".yaml")
        for each in yaml.safe_load_all(text)
        if each
    }
    kinds = "cronjob|service|statefulset|deployment"
    told = [
        (kind, name.replace("RELEASE", "sie-cluster"))
        for _, command in commands()
        if command.startswith("kubectl ")
        for kind, name in re.findall(rf"\b({kinds})[/ ]([A-Za-z][\w-]+)", command)
    ]
    assert told
    assert set(told) <= made


def _put(into: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        into = into.setdefault(part, {})
    into[path[-1]] = value
