"""A gateway's memory of the models that it was asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_gateway.fleet.traffic import Traffic


def test_the_last_request_for_each_model_is_told_for_an_hour_and_the_newest_are_kept() -> None:
    now = 0.0
    traffic = Traffic(lambda: now)
    for number in range(502):
        traffic.note(f"m{number}")
    now = 10.5
    traffic.note("m2")
    told = traffic.report()
    assert len(told) == 500
    assert (told["m2"], told["m501"]) == (0, 10)
    assert not {"m0", "m1"} & told.keys(), "the oldest are forgotten first"
    now = 3601.0
    assert traffic.report() == {"m2": 3590}


NOTES = st.lists(
    st.tuples(
        st.integers(0, 1500), st.sampled_from("abcd"), st.none() | st.sampled_from(["x", "y"])
    ),
    max_size=12,
)


@given(NOTES, st.integers(0, 3700))
def test_a_name_is_told_by_its_last_request_of_the_hour_and_the_newest_stay(notes, later) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sie_gateway.fleet.traffic._NAMES_MAX", 2)
        now = 0.0
        traffic = Traffic(lambda: now)
        models: dict[str, float] = {}
        adapters: dict[str, float] = {}
        for pause, model, adapter in notes:
            now += pause
            traffic.note(model, adapter)
            for kept, name in ((models, model), (adapters, f"{model}/{adapter}")):
                if kept is models or adapter is not None:
                    kept.pop(name, None)
                    kept[name] = now
                    if len(kept) > 2:
                        del kept[next(iter(kept))]
        now += later
        for told, kept in ((traffic.report(), models), (traffic.report_adapters(), adapters)):
            assert told == {name: int(now - at) for name, at in kept.items() if now - at <= 3600}
