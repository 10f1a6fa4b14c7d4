"""The runbooks' page: every alert is walked, and nothing on it is invented."""

import dataclasses
import re
from functools import cache
from pathlib import Path

import pytest
from tests.support.alerts import alerts
from tests.support.chart_page import leaves, schema
from tests.support.metrics_page import declared
from tests.support.runbook_pages import PAGE, Section, is_query, query_of, sections
from tests.support.runbook_walks import WALKS, WORLDS
from tests.support.settings_page import PROCESSES

from sie_schemas.errors import CODES

ROOT = Path(__file__).parents[2]
TEXT = PAGE.read_text()
SECTIONS = sections(TEXT)
OF_OTHERS = {"OOMKilled", "Pending", "[6h]", "le", "df", "401", "/connz", "page", "ticket"}
"""Kubernetes' words, Prometheus's, and the broker's."""
PROGRAMS = ("kubectl ", "nats-server ", "sie ")
SUFFIXES = ("", "_bucket", "_count", "_sum")


@cache
def source() -> str:
    """Everything that we ship, as one text."""
    folders = ("control_plane", "data_plane", "shared", "sdk", "deploy/helm")
    kinds = {".py", ".yaml", ".tpl", ".conf"}
    return "\n".join(
        path.read_text()
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in kinds
    )


@cache
def settings() -> set[str]:
    """The variables of every process, with and without what they begin with."""
    found = {"HF_HUB_CACHE"}
    for prefix, (_, cls) in PROCESSES.items():
        for field in dataclasses.fields(cls):
            found |= {f"{prefix}_{field.name.upper()}", field.name.upper(), field.name}
    return found


@cache
def values() -> list[str]:
    """Every value of the chart."""
    return [path for path, _ in leaves(schema())]


@cache
def exported() -> set[str]:
    """Every metric."""
    return set(declared())


def is_known(span: str) -> bool:
    """True for what this project has under that name."""
    if is_query(span):
        names = re.findall(r"\bsie_[a-z0-9_]+", query_of(span))
        return all(any(n.removesuffix(s) in exported() for s in SUFFIXES) for n in names)
    if span in OF_OTHERS or span.startswith(PROGRAMS):
        return True
    if span in settings() or span.rpartition(" ")[2] in CODES:
        return True
    if any(path.endswith(span) or f"{span}." in path for path in values()):
        return True
    # A field of an answer within another, or whatever stands in the source as it stands here.
    return span in source() or all(f'"{part}"' in source() for part in span.split("."))


def test_every_alert_is_walked():
    assert set(WALKS) == {rule["alert"] for rule in alerts()}
    assert {walk.world for walk in WALKS.values()} == {*WORLDS, "roles"}


@pytest.mark.parametrize("alert", sorted(WALKS))
def test_a_walk_does_every_sentence_of_its_page_and_none_that_is_not_there(alert):
    walk, page = WALKS[alert], SECTIONS[alert]
    told = [*walk.acts, *walk.elsewhere]
    for phrase in told:
        assert any(phrase in sentence for sentence in page.sentences), phrase
    for sentence in page.sentences:
        typed = [span for span in sentence.split("`")[1::2] if span.startswith("sie ")]
        assert typed or any(phrase in sentence for phrase in told), f"nobody does: {sentence}"


@pytest.mark.parametrize("alert", sorted(SECTIONS))
def test_what_a_page_names_is_there(alert):
    assert [span for span in SECTIONS[alert].spans if not is_known(span)] == []


def test_a_page_that_rots_is_seen():
    rotten = Section("It `sie_config_gone_total` means.", "See `/gonez`.", "`SIE_GATEWAY_GONE`.")
    assert [span for span in rotten.spans if not is_known(span)] == rotten.spans
