"""Metrics: one scheme of names, and a page that lists them all."""

import re

from prometheus_client import Histogram
from tests.support.metrics_page import PAGE, declared, table, written_table

PARTS = ("bus", "config", "gateway", "http", "replica", "server", "worker")


def test_the_page_lists_every_metric_that_there_is():
    assert written_table() == table(), f"python -m tests.support.metrics_page writes {PAGE.name}"


def test_a_name_says_whose_it_is_what_it_counts_and_in_which_unit():
    for name, metric in declared().items():
        assert re.fullmatch(rf"sie_({'|'.join(PARTS)})_[a-z0-9_]*[a-z0-9]", name), name
        assert not re.search(r"_(ms|us|milliseconds|kb|mb|minutes)(_|$)", name), name
        if isinstance(metric, Histogram):
            assert re.search(r"_(seconds|items|cost|bytes|tokens|ratio|depth)$", name), name


def test_no_label_takes_what_a_client_can_invent():
    invented = {"model", "tenant", "request_id", "path", "adapter", "item", "url", "actor"}
    for name, metric in declared().items():
        assert not invented & set(metric._labelnames), name
