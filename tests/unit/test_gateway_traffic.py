"""A gateway's memory of the models that it was asked for."""

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
