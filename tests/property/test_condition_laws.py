"""Laws of conditions and keys: what stands for a request or a version stands for nothing else."""

from hypothesis import assume, given
from hypothesis import strategies as st
from starlette.requests import Request

from sie_config.http.write_requests import expectation, idempotency_of
from sie_config.writer.rules import etag

METHODS = st.sampled_from(["POST", "PUT", "PATCH", "DELETE"])
PATHS = st.sampled_from(["", "/a", "/A", "/a?ack=stream", "/a#b", "/a\n"]).map(
    "/v1/configs/models".__add__
)
"""Paths as a server gives them: a mark of an address in one was percent-encoded."""
QUERIES = st.sampled_from([b"", b"force=true", b"ack=stream", b"dry-run=true"])
BODIES = st.binary(max_size=3)
ASKED = st.tuples(METHODS, PATHS, QUERIES, BODIES)
LOG_IDS = st.text("0123456789abcdef", min_size=32, max_size=32)


def fingerprint(method: str, path: str, query: bytes, body: bytes) -> str:
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(b"idempotency-key", b"k"), (b"host", b"config")],
    }
    found = idempotency_of(Request(scope), body)
    assert found is not None
    return found.fingerprint


@given(ASKED, ASKED)
def test_two_requests_have_one_fingerprint_only_if_they_are_the_same(one, other):
    assert (fingerprint(*one) == fingerprint(*other)) == (one == other)


@given(ASKED, st.sampled_from(range(4)), st.data())
def test_a_request_that_differs_in_one_part_has_another_fingerprint(asked, part, data):
    changed = list(asked)
    changed[part] = data.draw([METHODS, PATHS, QUERIES, BODIES][part])
    assume(changed[part] != asked[part])

    assert fingerprint(*changed) != fingerprint(*asked)


@given(LOG_IDS, LOG_IDS, st.integers(1, 50), st.integers(1, 50))
def test_an_etag_is_of_one_log_and_one_epoch(one, other, epoch, later):
    assume((one[:8], epoch) != (other[:8], later))

    assert etag(one, epoch) != etag(other, later)


@given(st.none() | st.lists(st.integers(1, 99), min_size=1, max_size=3), st.booleans())
def test_each_condition_of_a_write_counts_also_beside_the_other(versions, is_absent):
    tags = None if versions is None else tuple(etag("ab" * 16, each) for each in versions)
    told = None if tags is None else " , ".join(tags)
    found = expectation(told, "*" if is_absent else None)
    assert (found.etags, found.absent) == (tags, is_absent)
