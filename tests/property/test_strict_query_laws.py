"""Query parameters, and headers of ours: what is let through reads the same everywhere, and nothing
is passed over."""

from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from sie_core.nearest import nearest
from sie_runtime.access import strict_headers
from sie_runtime.access.strict_headers import check_headers
from sie_runtime.access.strict_query import check_query
from sie_schemas.errors import FixRequest

KNOWN = frozenset({"dry_run", "ack", "wait", "timeout"})
pieces = st.sampled_from(
    [
        "dry_run",
        "ack",
        "dry-run",
        "=",
        "&",
        "+",
        "%",
        "%5F",
        "%ff",
        "%00",
        "true",
        ";",
        "é",
        "",
        "?",
    ]
)
queries = st.lists(pieces, max_size=8).map(lambda parts: "".join(parts).encode("latin-1"))


@given(queries)
@example(b"dry%5Frun=true")
@example(b"dry_run=true&dry%5Frun=true")
@example(b"&&dry_run=a+b&")
def test_what_is_let_through_is_read_as_the_framework_reads_it(query):
    read = QueryParams(query)
    try:
        check_query(query, KNOWN, route="POST /models")
    except FixRequest as refused:
        assert refused.status == 400
        return
    names = [name for name, _ in read.multi_items()]
    assert set(names) <= KNOWN
    assert len(names) == len(set(names))
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(read.values())


@given(st.sampled_from(sorted(KNOWN)), st.data())
def test_another_spelling_of_a_name_is_told_the_name(name, data):
    joint = data.draw(st.sampled_from(["", "-", ".", " "]))
    words = [data.draw(st.sampled_from([w, w.title(), w.upper()])) for w in name.split("_")]
    spelt = joint.join(words)
    assert nearest(spelt, KNOWN) == name


def test_a_route_that_takes_none_says_so_and_a_long_name_is_not_repeated():
    for query, told in ((b"dry_run=true", "it takes none"), (b"x" * 10_000, "x" * 40)):
        try:
            check_query(query, (), route="POST /compact")
        except FixRequest as refused:
            assert told in refused.message
            assert len(refused.message) < 200
        else:
            raise AssertionError("it was let through")


@given(st.sampled_from(sorted(strict_headers.KNOWN)), st.data())
def test_a_slip_in_a_header_of_ours_is_told_the_name_and_every_other_header_passes(name, data):
    check_headers([name, b"x-forwarded-for", b"if-match", b"traceparent", b"x-idempotency-key"])
    at = data.draw(st.integers(max(name.rfind(b"-"), 0) + 1, len(name) - 1))
    slip = data.draw(st.sampled_from([name[:at] + name[at + 1 :], name[:at] + b"q" + name[at:]]))
    try:
        check_headers([b"accept", slip])
    except FixRequest as refused:
        assert refused.field == slip.decode()
        assert f"did you mean {strict_headers.KNOWN[name]!r}?" in refused.message
    else:
        raise AssertionError(f"{slip!r} was let through")
