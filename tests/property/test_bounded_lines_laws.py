"""Whatever is told of strangers, and however often, the log grows by a bound and tells the rest."""

import io
import json
import logging

from hypothesis import given
from hypothesis import strategies as st

from sie_runtime.process.bounded_lines import (
    EACH,
    LINES_MAX,
    WINDOW_S,
    BoundedHandler,
    BoundedLines,
)
from sie_runtime.process.telemetry import configure_logs

PLACES = 3
"""The last of them tells each."""
BURSTS = st.lists(
    st.tuples(
        st.integers(0, PLACES - 1),
        st.integers(1, 3 * LINES_MAX),
        st.sampled_from([0.0, WINDOW_S / 7, WINDOW_S, 5 * WINDOW_S]),
    ),
    max_size=20,
)


def record_of(place: int, number: int) -> logging.LogRecord:
    made = logging.LogRecord("x", logging.WARNING, "x.py", place, "bad %d", (number,), None)
    if place == PLACES - 1:
        made.__dict__.update(EACH)
    return made


@given(BURSTS)
def test_lines_are_bounded_and_each_is_written_or_told_as_passed_over(
    bursts: list[tuple[int, int, float]],
) -> None:
    now = 0.0
    stream = io.StringIO()
    handler = BoundedHandler(stream, BoundedLines(lambda: now))
    handler.setFormatter(logging.Formatter("%(lineno)d %(message)s"))
    sent = [0] * PLACES
    for place, count, pause in bursts:
        for number in range(count):
            handler.handle(record_of(place, number))
        sent[place] += count
        now += pause
    handler.close()
    written, told = [0] * PLACES, [0] * PLACES
    for line in stream.getvalue().splitlines():
        number_of, word, *rest = line.split()
        if word == "bad":
            written[int(number_of)] += 1
        else:
            told[int(number_of)] += int(word)
            assert rest[-2] == "bad"
    assert [a + b for a, b in zip(written, told, strict=True)] == sent
    assert told[-1] == 0
    windows = now // WINDOW_S + 1
    assert max(written[:-1]) <= LINES_MAX * windows


@given(BURSTS)
def test_what_was_passed_over_is_told_as_soon_as_anybody_says_anything(
    bursts: list[tuple[int, int, float]],
) -> None:
    now = 0.0
    stream = io.StringIO()
    handler = BoundedHandler(stream, BoundedLines(lambda: now))
    for place, count, pause in bursts:
        for number in range(count):
            handler.handle(record_of(place, number))
        now += pause
    now += WINDOW_S
    handler.handle(record_of(PLACES - 1, 0))
    before = stream.getvalue()
    handler.close()
    assert stream.getvalue() == before


@given(st.text(min_size=1, max_size=5), st.integers(1, 100_000))
def test_a_line_is_bounded_whatever_it_repeats(unit: str, times: int) -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers, root.level
    try:
        configure_logs(role="worker", process_id="w", level="info", stream=stream)
        logging.getLogger("x").warning("bad: %s", unit * times, extra={"claim": unit * times})
    finally:
        root.handlers, root.level = before, level
    # A letter is at most twelve in JSON.
    assert len(stream.getvalue()) < 2 * 12 * 4_100
    assert json.loads(stream.getvalue())["msg"].startswith("bad: ")
