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
    job = small_job(options={} if how is None else {"truncate": how})
    found, kept = fitting(job, reads, indexes, inputs, failures)
    # 0 is no bound. Of what the device cannot run nothing comes so far as to share a batch.
    refused = {
        index: "INPUT_TOO_LONG" if size else "INVALID_REQUEST"
        for index, size in zip(indexes, sizes, strict=True)
        if not size or 0 < tokens_max < size
    }
    assert found == [index for index in indexes if index not in refused]
    assert kept == [inputs[index // 2] for index in found]
    assert {each.index: each.code for each in failures} == refused
    lets_cut = ["let it be cut" in each.message for each in failures if "LONG" in each.code]
    assert lets_cut == [how == "none"] * len(lets_cut)
