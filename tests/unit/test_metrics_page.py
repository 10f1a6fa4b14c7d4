"""Metrics: one scheme of names, and a page that lists them all."""

import re

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Histogram
from tests.support.metrics_page import PAGE, declared, table, written_table

from sie_runtime.process.bounded_labels import OTHER, BoundedLabels

PARTS = ("build", "bus", "config", "gateway", "http", "process", "replica", "server", "worker")

BOUNDED = {
    "sie_gateway_model_request_seconds",
    "sie_worker_lane_inputs_total",
    "sie_worker_lane_batch_seconds",
    "sie_worker_lane_wait_seconds",
    "sie_worker_lane_fill_ratio",
}


def test_the_page_lists_every_metric_that_there_is():
    assert written_table() == table(), f"python -m tests.support.metrics_page writes {PAGE.name}"


def test_a_name_says_whose_it_is_what_it_counts_and_in_which_unit():
    for name, metric in declared().items():
        assert re.fullmatch(rf"sie_({'|'.join(PARTS)})_[a-z0-9_]*[a-z0-9]", name), name
        assert not re.search(r"_(ms|us|milliseconds|kb|mb|minutes)(_|$)", name), name
        if isinstance(metric, Histogram):
            assert re.search(r"_(seconds|items|cost|bytes|tokens|ratio|depth)$", name), name


def test_no_label_takes_what_a_client_can_invent():
    invented = {"tenant", "request_id", "path", "item", "url", "actor"}
    for name, metric in declared().items():
        assert not invented & set(metric._labelnames), name


def test_names_of_the_registry_are_labels_of_the_metrics_that_bound_them_alone():
    of_models = {n for n, m in declared().items() if {"model", "adapter"} & set(m._labelnames)}
    assert of_models == BOUNDED


@given(names=st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=60))
def test_however_many_names_come_no_more_series_than_the_bound_and_other(names):
    labels = BoundedLabels(5)
    given_out = [labels.of(*each) for each in names]
    assert len(set(given_out) - {(OTHER, OTHER)}) <= 5
    for each, told in zip(names, given_out, strict=True):
        assert told in (each, (OTHER, OTHER))
        # What a name once had it keeps: a series does not move to `other` while it lives.
        assert labels.of(*each) == told
