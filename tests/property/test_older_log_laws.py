"""Laws of logs that continue others: a stream that is left names every log that it supersedes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sie_config.stream.stream_witness import older_logs, superseded_at
from sie_runtime.streams.log_stream import StreamTip
from sie_testing.written_log import WrittenLog


@given(st.data(), st.integers(1, 4))
@settings(max_examples=20)
def test_whichever_streams_are_left_a_later_one_names_the_log_of_an_old_file(data, heirs):
    logs = [WrittenLog("0")]
    for number in range(heirs):
        logs.append(WrittenLog(f"{number + 1}", base=logs[-1]))
    ids, told = [log.log_id for log in logs], [older_logs(log.entries) for log in logs]
    left = data.draw(st.sets(st.integers(0, heirs)))
    old = data.draw(st.integers(0, heirs))
    named = {
        at for at in left if superseded_at(StreamTip(1, 0, {"supersedes": told[at]}), ids[old])
    }
    assert named == {at for at in left if at > old}
    for at in range(1, heirs + 1):
        # As the releases before read it.
        assert told[at].partition(".")[0] == ids[at - 1]


@given(st.integers(0, 4) | st.integers(98, 104))
@settings(max_examples=12)
def test_a_stream_names_the_hundred_newest_of_the_logs_before_its_own(heirs):
    """More would not fit beside its settings; the newest is first, which older releases read."""
    logs = [WrittenLog("0")]
    for number in range(heirs):
        logs.append(WrittenLog(f"{number + 1}", base=logs[-1]))
    told = [each.partition(".")[0] for each in older_logs(logs[-1].entries).split()]
    assert told == [log.log_id for log in logs[-2::-1]][:100]
