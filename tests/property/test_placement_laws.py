"""Laws of placement: every model has a home, and few move."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sie_worker.placement import home, placed

MODELS = st.lists(st.integers(0, 500).map(lambda n: f"org/model-{n}"), unique=True, max_size=60)
ROOMS = st.dictionaries(
    st.integers(0, 40).map(lambda n: f"worker-{n}"), st.sampled_from([1.0, 2.0, 8.0]), min_size=1
)


@given(models=MODELS, rooms=ROOMS)
def test_every_model_has_exactly_one_home_while_a_worker_lives(models, rooms):
    pulled = [model for worker in rooms for model in placed(worker, rooms=rooms, models=models)]

    assert sorted(pulled) == sorted(models)


@given(models=MODELS, rooms=ROOMS, room=st.sampled_from([1.0, 4.0]))
def test_a_worker_that_joins_takes_models_only_for_itself(models, rooms, room):
    after = rooms | {"newcomer": room}

    moved = [model for model in models if home(model, rooms) != home(model, after)]

    assert all(home(model, after) == "newcomer" for model in moved)


@given(models=MODELS, rooms=ROOMS)
def test_a_worker_that_leaves_moves_only_its_own_models(models, rooms):
    gone = min(rooms)
    after = {worker: room for worker, room in rooms.items() if worker != gone}

    moved = [model for model in models if home(model, rooms) != home(model, after)]

    assert all(home(model, rooms) == gone for model in moved)


@given(models=MODELS, rooms=ROOMS, held=MODELS)
def test_a_held_model_stays_and_a_model_that_is_gone_does_not(models, rooms, held):
    worker = max(rooms)

    found = placed(worker, rooms=rooms, models=models, held=held)

    assert set(held) & set(models) <= found <= set(models)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_a_worker_with_three_times_the_room_is_home_to_about_three_times_the_models(seed):
    models = [f"{seed}/{n}" for n in range(2000)]

    large = len(placed("large", rooms={"large": 3.0, "small": 1.0}, models=models))

    assert 1350 <= large <= 1650


def test_workers_that_tell_no_room_count_alike_unless_another_tells_some():
    models = [str(n) for n in range(300)]

    silent = placed("a", rooms={"a": 0.0, "b": 0.0}, models=models)
    beside = placed("a", rooms={"a": 0.0, "b": 7.0}, models=models)

    assert 100 < len(silent) < 200
    assert not beside
    assert home("m", {}) is None
