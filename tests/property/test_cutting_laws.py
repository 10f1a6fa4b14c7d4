"""Laws of cutting: where nothing may be cut, what fits is run and what does not is said."""

from hypothesis import given
from hypothesis import strategies as st
from tests.support.small_jobs import small_job

from sie_schemas.ipc import TokensInput
from sie_schemas.jobs import ItemFailure
from sie_worker.forms.cutting import fitting

SIZES = st.lists(st.integers(0, 6), max_size=6)


@given(sizes=SIZES, tokens_max=st.integers(0, 5), how=st.sampled_from([None, "end", "none"]))
def test_a_text_that_just_fits_is_run_and_one_token_more_is_refused_for_itself(
    sizes, tokens_max, how
):
    indexes = [2 * place for place in range(len(sizes))]
    inputs = [TokensInput(bytes(4 * size)) for size in sizes]
    failures: list[ItemFailure] = []
    reads = [tokens_max] * len(inputs)
    found, kept = fitting(small_job(), how, reads, indexes, inputs, failures)
    # 0 is no bound, and what is cut always fits.
    is_bound = how == "none" and tokens_max > 0
    fits = [not is_bound or size <= tokens_max for size in sizes]
    assert found == [index for index, is_fit in zip(indexes, fits, strict=True) if is_fit]
    assert [len(each.ids) // 4 for each in kept] == [
        size for size, is_fit in zip(sizes, fits, strict=True) if is_fit
    ]
    assert {each.index for each in failures} == {*indexes} - {*found}
    assert {each.code for each in failures} <= {"INPUT_TOO_LONG"}
