"""Alert rules and dashboards: each rule fires when it must and not else, each has its runbook."""

import json
import re
import subprocess
from collections.abc import Collection
from pathlib import Path

import pytest
import yaml
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule
from tests.support.alerts import CASES, RULES, alerts, promtool_file
from tests.support.chart import rendered, values_of
from tests.support.dashboards import DASHBOARDS, FOLDER, document, queries
from tests.support.metrics_page import declared

RUNBOOKS = Path(__file__).parents[2] / "docs/operations/runbooks.md"
SUFFIXES = ("_bucket", "_count", "_sum")
ON = {"alerts": {"enabled": True}, "dashboards": {"enabled": True}}


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\bsie_[a-z0-9_]+(?=\{)", expression))


def is_exported(name: str, exported: Collection[str]) -> bool:
    return any(name.removesuffix(suffix) in exported for suffix in ("", *SUFFIXES))


def promtool(*arguments: str) -> None:
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.tool("promtool")
def test_each_alert_fires_on_its_fault_and_is_silent_beside_it(tmp_path):
    assert sorted(CASES) == sorted(rule["alert"] for rule in alerts()), "each has its cases"
    promtool("test", "rules", str(promtool_file(tmp_path / "cases.yaml")))


@pytest.mark.tool("promtool")
def test_the_chart_gives_the_same_rules_for_its_own_release(tmp_path):
    (document,) = [each for each in rendered(values_of("", ON)) if each["kind"] == "PrometheusRule"]
    PrometheusRule.model_validate(document)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(document["spec"]))
    promtool("check", "rules", str(tmp_path / "rules.yaml"))
    plain = [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]
    scoped = [rule for group in document["spec"]["groups"] for rule in group["rules"]]
    scope = 'namespace="sie",release="demo",'
    assert len(plain) == len(scoped)
    for before, after in zip(plain, scoped, strict=True):
        assert after["expr"].replace(scope, "") == before["expr"]
        assert after["expr"].count(scope) == len(
            re.findall(r"sie[_:][a-z0-9_:]+\{", before["expr"])
        )


def test_rules_and_dashboards_ask_for_metrics_that_there_are_each_with_its_scope():
    asked = [rule["expr"] for rule in alerts()]
    asked += [query for each in DASHBOARDS for query in queries(document(each))]
    exported = declared()
    for expression in asked:
        names = metrics_in(expression)
        assert names or "sie:" in expression, expression
        assert [name for name in names if not is_exported(name, exported)] == []
        # A metric without braces would be every release's.
        bare = re.findall(
            r"\bsie_[a-z0-9_]+\b(?!\{)", re.sub(r"\{[^}]*\}|by \([^)]*\)", "{", expression)
        )
        assert bare == [], expression


def test_each_alert_has_its_section_in_the_runbooks_with_cause_evidence_and_cure():
    section = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    sections = dict(section.findall(RUNBOOKS.read_text()))
    assert sorted(sections) == sorted(rule["alert"] for rule in alerts())
    for name, text in sections.items():
        for part in ("**Means.**", "**Look.**", "**Do.**"):
            assert part in text, (name, part)
    for rule in alerts():
        anchor = rule["annotations"]["runbook"].partition("#")[2]
        assert anchor == rule["alert"].lower()
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_the_chart_brings_the_dashboards_as_they_are_made():
    maps = {
        key: json.loads(text)
        for each in rendered(values_of("", ON))
        if each["kind"] == "ConfigMap"
        for key, text in each["data"].items()
        if key.endswith(".json")
    }
    assert sorted(maps) == sorted(f"{each.name}.json" for each in DASHBOARDS)
    for each in DASHBOARDS:
        again = "write it anew: python -m tests.support.dashboards"
        written = json.loads((FOLDER / f"{each.name}.json").read_text())
        assert written == maps[f"{each.name}.json"] == document(each), again
    ids = [written["uid"] for written in maps.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.tool("promtool")
def test_every_query_of_a_dashboard_is_promql(tmp_path):
    rules = [
        {"record": f"q:{each.name}:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for each in DASHBOARDS
        for number, query in enumerate(queries(document(each)))
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "q", "rules": rules}]}))
    promtool("check", "rules", str(path))
