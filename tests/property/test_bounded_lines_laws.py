"""Whatever is told of strangers, and however often, the log grows by a bound and tells the rest."""

import io
import json
import logging
from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from sie_runtime.process.bounded_lines import (
    EACH,
    LINES_MAX,
    WINDOW_S,
    BoundedHandler,
    BoundedLines,
)
from sie_runtime.process.telemetry import configure_logs

PLACES = 5
"""Two of one number in two files, one that is told for information, details, and one of each."""
FILES = ("x.py", "y.py", "x.py", "x.py", "x.py")
NUMBERS = (1, 1, 2, 3, 4)
LEVELS = (logging.WARNING, logging.WARNING, logging.INFO, logging.DEBUG, logging.WARNING)
BOUNDED = 3
"""The first so many."""
BURSTS = st.lists(
    st.tuples(
        st.integers(0, PLACES - 1),
        st.integers(1, 3 * LINES_MAX),
        st.sampled_from([0.0, WINDOW_S / 7, WINDOW_S, 5 * WINDOW_S]),
    ),
    max_size=20,
)


def record_of(place: int, number: int) -> logging.LogRecord:
    made = logging.LogRecord(
        str(place), LEVELS[place], FILES[place], NUMBERS[place], "bad %d", (number,), None
    )
    if place == PLACES - 1:
        made.__dict__.update(EACH)
    return made


def log_of(stream: io.StringIO, clock: Callable[[], float]) -> BoundedHandler:
    handler = BoundedHandler(stream, BoundedLines(clock))
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    return handler


def counted(stream: io.StringIO) -> tuple[list[int], list[int]]:
    """Of each place the lines that were written, and those that were told as passed over."""
    written, told = [0] * PLACES, [0] * PLACES
    for line in stream.getvalue().splitlines():
        place, word, *rest = line.split()
        if word == "bad":
            written[int(place)] += 1
        else:
            assert int(word) > 0
            assert rest[-2] == "bad"
            told[int(place)] += int(word)
    return written, told


def passed_over() -> float:
    return REGISTRY.get_sample_value("sie_process_log_lines_passed_over_total") or 0.0


@given(BURSTS)
def test_lines_are_bounded_and_each_is_written_or_told_as_passed_over(
    bursts: list[tuple[int, int, float]],
) -> None:
    now = 0.0
    stream = io.StringIO()
    handler = log_of(stream, lambda: now)
    before = passed_over()
    sent = [0] * PLACES
    for place, count, pause in bursts:
        for number in range(count):
            handler.handle(record_of(place, number))
        sent[place] += count
        now += pause
    handler.close()
    written, told = counted(stream)
    assert [a + b for a, b in zip(written, told, strict=True)] == sent
    assert not any(told[BOUNDED:])
    windows = now // WINDOW_S + 1
    assert max(written[:BOUNDED]) <= LINES_MAX * windows
    assert passed_over() - before == sum(told)


@given(BURSTS)
@example([(0, LINES_MAX, WINDOW_S / 7)] * 9)
def test_what_is_a_window_old_was_written_or_told_however_the_flood_goes_on(
    bursts: list[tuple[int, int, float]],
) -> None:
    now = 0.0
    stream = io.StringIO()
    handler = log_of(stream, lambda: now)
    sent: list[tuple[float, int, int]] = []
    for place, count, pause in bursts:
        for number in range(count):
            handler.handle(record_of(place, number))
        written, told = counted(stream)
        sent.append((now, place, count))
        for each in range(PLACES):
            old = sum(n for at, of, n in sent if of == each and at + WINDOW_S <= now)
            assert written[each] + told[each] >= old
        now += pause


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
