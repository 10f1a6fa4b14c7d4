"""The contract of sie-config, tried by machine: no server error, and nothing undocumented."""

import json
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
)
from tests.support.openapi_file import OPENAPI_FILES
from tests.support.served import served_config

# The exhaustive phase takes minutes on a small machine; random requests find the same in seconds.
CONFIG = SchemathesisConfig.from_dict({"phases": {"coverage": {"enabled": False}}})
SCHEMA = schemathesis.openapi.from_dict(
    json.loads(OPENAPI_FILES["sie-config"].read_text()), config=CONFIG
).exclude(path_regex="/v1/(configs/(events|inspect)|dead-letters.*|queues)")
"""Without the events, which have no end, and without what only a broker or the hub has."""
CALM = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture]
NOT_OURS = [
    positive_data_acceptance,
    negative_data_rejection,
    unsupported_method,
    allow_header_conformance,
]
"""The checks that are not ours: what a document refers to decides beside its form, and a key may be
any path below its kind."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("config")
    quick = {"convergence_wait_max_s": 0.05, "poll_wait_max_s": 0.05, "ack_wait_s": 0.05}
    with served_config(folder, **quick) as address:
        yield address


@pytest.mark.integration
@SCHEMA.parametrize()
@settings(max_examples=5, deadline=None, suppress_health_check=CALM)
def test_no_request_makes_a_server_error(case, url):
    case.call_and_validate(base_url=url, checks=[not_a_server_error])


@pytest.mark.integration
@SCHEMA.parametrize()
@settings(max_examples=2, deadline=None, suppress_health_check=CALM)
def test_every_answer_is_one_that_the_document_tells(case, url):
    case.call_and_validate(base_url=url, excluded_checks=NOT_OURS)
