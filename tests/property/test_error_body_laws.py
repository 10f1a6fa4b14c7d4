"""Laws of error bodies: bounded whatever was sent, and the same after whoever hands them on."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sie_schemas.documents import admit_document
from sie_schemas.errors import FixRequest, SIEError, error_for, visible

MOST = 16_384
# Without what could be a password: that is taken out, which is another law.
SHORT = st.text(st.characters(exclude_characters="@", exclude_categories=["Cs"]), max_size=20)
# Long texts are made of short ones: drawing each character of them would take the test's time.
TEXTS = st.builds(
    lambda start, middle, times, end: start + middle * times + end,
    SHORT,
    SHORT,
    st.sampled_from([0, 1, 200, 1000]),
    SHORT,
)
PROBLEMS = st.fixed_dictionaries({"path": TEXTS, "message": TEXTS})
ITEMS = st.fixed_dictionaries({"item_index": st.integers(0, 99), "code": TEXTS, "message": TEXTS})
DETAILS = st.builds(
    lambda few, times: few * times,
    st.lists(PROBLEMS, max_size=3) | st.lists(ITEMS, max_size=2),
    st.sampled_from([1, 40]),
)


def told_apart(details: list[Any]) -> tuple[list[Any], int]:
    """The problems that a body lists, and how many more it says there were."""
    if details and details[-1].get("path") == "…":
        return details[:-1], int(details[-1]["message"].split()[1])
    return details, 0


def handed_on(error: SIEError) -> dict[str, Any]:
    """The body of the error that a client makes of the body of this one."""
    told = json.loads(json.dumps(error.to_wire()))["detail"]
    return error_for(
        told["code"], told["message"], field=told.get("field"), details=told.get("details")
    ).to_wire()


@settings(max_examples=60)
@given(TEXTS, TEXTS, DETAILS)
def test_a_body_is_bounded_tells_how_much_it_leaves_out_and_is_handed_on_as_it_is(
    message, field, details
):
    error = FixRequest(message, field=field, details=details)
    assert len(error.message) <= MOST
    assert error.message[-1000:] == visible(message, kept="\n")[-1000:], (
        "what to do stands at the end"
    )
    assert len(error.field or "") <= 256
    kept, more = told_apart(error.details)
    if kept and "item_index" in kept[0]:
        assert not more, "each item has its own place in what a program reads"
        assert all(len(text) <= 1024 for each in kept for text in (each["code"], each["message"]))
    else:
        assert len(str(error.details)) <= MOST + 2 * len(error.details) + 2
    assert len(kept) + more == len(details)
    for short, whole in zip(kept, details, strict=False):
        assert short.keys() == whole.keys()
        told = visible(whole["message"], kept="\n")
        assert short["message"][:200] == told[:200]
        assert short["message"][-200:] == told[-200:]
    assert handed_on(error) == error.to_wire()


def test_a_field_of_a_megabyte_does_not_come_back_and_the_first_problem_does():
    unknown = {"name": "eu", "machine_profiles": ["cpu"]} | {"x" * 900_000: 1}
    with pytest.raises(FixRequest) as refused:
        admit_document("pool", unknown)
    body = json.dumps(refused.value.to_wire())
    assert len(body) < 2 * MOST
    [problem] = refused.value.details
    assert "xxx […] xxx" in problem["path"]
    assert problem["message"].startswith("there is no such field; it takes description, machine_")


@pytest.mark.parametrize(
    ("change", "path", "meant"),
    [
        ({"descripton": ""}, "descripton", "description"),
        ({"source": {"type": "hub", "id": "org/w", "revison": "0" * 40}}, "", "revision"),
        ({"profiles": {"default": {"backend": "echo", "batch_waitms": 1}}}, "", "batch_wait_ms"),
        ({"tasks": {"encode": {"output": ["dense"]}}}, "tasks.encode.output", "outputs"),
    ],
)
def test_an_unknown_field_is_told_the_one_that_was_meant(change, path, meant):
    document = {
        "model_id": "org/m",
        "source": {"type": "hub", "id": "org/w", "revision": "0" * 40},
        "tasks": {"encode": {}},
        "profiles": {"default": {"backend": "echo"}},
    }
    with pytest.raises(FixRequest) as refused:
        admit_document("model", document | change)
    problem = refused.value.details[-1]
    assert problem["message"] == f"there is no such field; did you mean {meant!r}?"
    assert not path or problem["path"] == path


def test_an_object_that_a_program_acts_on_is_whole():
    document = {"etag": "3", "document": {"description": "x" * 100_000}}
    assert FixRequest("stale", details=document).details == document
