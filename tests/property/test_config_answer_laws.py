"""Laws of reading sie-config's answers: what a call wants is taken, anything else is no answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_schemas.errors import FixRequest
from sie_sdk.config.answers import Listing, read_config_answer
from sie_sdk.wire.call import Call

NAMES = ("epoch", "models", "log_id")
GATEWAYS = {"source": "gateway-registry"}
VALUES = st.integers() | st.sampled_from([[], [{}], [GATEWAYS], [1, GATEWAYS]])
JSON = {"content-type": "application/json"}


@given(
    answer=st.dictionaries(st.sampled_from([*NAMES, "more"]), VALUES),
    is_gateways=st.booleans(),
    wants=st.lists(st.sampled_from(NAMES), unique=True),
)
def test_an_answer_that_has_what_the_call_wants_is_taken_whoever_gives_it(
    answer: dict[str, Any], is_gateways: bool, wants: list[str]
) -> None:
    """A gateway shows some of the same: it is named only where it cannot serve."""
    answer = answer | (GATEWAYS if is_gateways else {})
    call = Call("GET", "/v1/configs/models?limit=2", wants=tuple(wants))
    sent = json.dumps(answer).encode()
    if set(wants) <= set(answer):
        assert read_config_answer(call, 200, JSON, sent, "http://x") == answer
        return
    with pytest.raises(FixRequest) as refused:
        read_config_answer(call, 200, JSON, sent, "http://x")
    shown = is_gateways or any(
        isinstance(value, list) and GATEWAYS in value for value in answer.values()
    )
    assert ("is a gateway" in refused.value.message) == shown
    assert refused.value.message.startswith("http://x ")


@given(
    pages=st.lists(st.lists(st.integers(), min_size=1, max_size=3), min_size=1, max_size=5),
    wrong=st.sampled_from([None, "itself", "another kind", "no rows", "no list"]),
)
def test_a_listing_has_the_rows_of_every_page_in_order_and_none_that_leads_nowhere(
    pages: list[list[int]], wrong: str | None
) -> None:
    listing: Listing[int] = Listing("rows", 0, "http://x")
    wanted: list[Any] = [row for rows in pages for row in rows]
    for number, rows in enumerate(pages[:-1], 1):
        assert listing.take({"rows": rows, "next_after": number})
        assert listing.after == number
    last: dict[str, Any] = {"rows": pages[-1], "next_after": None}
    if wrong is not None:
        last["next_after"] = len(pages)
    if wrong == "itself":
        last["next_after"] = listing.after
    elif wrong == "another kind":
        last["next_after"] = str(len(pages))
    elif wrong is not None:
        last["rows"] = [] if wrong == "no rows" else {"1": 1}
    if wrong is not None:
        with pytest.raises(FixRequest):
            listing.take(last)
        return
    assert not listing.take(last)
    assert listing.rows == wanted
