"""Laws of a full house: a newcomer takes the place of who waits longest where most wait.

Those wait that ask for nothing; where none does, those who read no answer. Answers that nobody
reads are bounded all together.
"""

from hypothesis import given
from hypothesis import strategies as st

from sie_runtime.http.connections import Connections, HttpBounds
from sie_schemas.errors import Later

VISITORS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 5),
        st.sampled_from(["rests", "is unread", "works"]),
    ),
    min_size=1,
    max_size=40,
)


class Guest:
    """A connection from an address, and what it does since then."""

    def __init__(self, address: str, since: float, doing: str) -> None:
        self.address, self.since = address, since
        self.is_waiting = doing == "rests"
        self.unread_bytes = int(doing == "is unread")
        self.was_sent_away = False

    def look(self, now: float) -> None:
        """Its times are its own."""

    def send_away(self) -> None:
        """Note it."""
        self.was_sent_away = True


@given(VISITORS, st.integers(1, 32))
def test_who_leaves_for_a_newcomer_waited_longest_of_the_address_that_has_most(
    came, connections_max
):
    house = Connections(HttpBounds(http_connections_max=connections_max))
    inside: list[Guest] = []
    for address, since, doing in came:
        guest = Guest(address, float(since), doing)
        waiting = [each for each in inside if each.is_waiting]
        waiting = waiting or [each for each in inside if each.unread_bytes]
        refused = house.enter(guest)
        left = [each for each in inside if each.was_sent_away]
        if len(inside) < connections_max:
            assert (refused, left) == (None, [])
        elif not waiting:
            assert isinstance(refused, Later)
            assert not left
        else:
            assert refused is None
            assert len({each.address for each in left}) == 1
            crowd = [each for each in waiting if each.address == left[0].address]
            assert len(crowd) == max(
                sum(one.address == each.address for one in waiting) for each in waiting
            )
            assert len(left) == min(len(crowd), max(1, connections_max // 16))
            stay = [each.since for each in crowd if not each.was_sent_away]
            assert max(each.since for each in left) <= min(stay, default=float("inf"))
        inside = [each for each in inside if not each.was_sent_away]
        if refused is None:
            inside.append(guest)
        assert len(house) == len(inside) <= connections_max


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 9))))
def test_answers_that_nobody_reads_stay_within_their_bound_and_no_more_are_cut_off(came):
    bound = 12
    house = Connections(HttpBounds(http_bodies_bytes_max=bound))
    guests = []
    for address, since, unread in came:
        guest = Guest(address, float(since), "works")
        guest.unread_bytes = unread
        guests.append(guest)
        assert house.enter(guest) is None
    house.look(0.0)
    left = [each for each in guests if each.was_sent_away]
    stay = [each for each in guests if not each.was_sent_away]
    held = sum(each.unread_bytes for each in stay)
    assert held <= bound
    if left:
        assert held + max(each.unread_bytes for each in left) > bound
    # It is the addresses with most that are cut off.
    most = {
        name: sum(each.unread_bytes for each in guests if each.address == name) for name in "abc"
    }
    for gone in left:
        assert all(most[each.address] <= most[gone.address] for each in stay if each.unread_bytes)
    # Nobody is cut off but who has something unread, and of one address the longest waiting first.
    assert all(each.unread_bytes for each in left)
    for gone in left:
        later = [each for each in stay if each.address == gone.address and each.unread_bytes]
        assert all(each.since >= gone.since for each in later)


@given(st.lists(st.booleans(), max_size=9))
def test_each_is_looked_at_also_where_others_leave_while_it_is(leaving):
    house, looked = Connections(HttpBounds()), []

    class Leaving(Guest):
        def look(self, now: float) -> None:
            looked.append(self.address)
            house.leave(self)

    for number, leaves in enumerate(leaving):
        house.enter(Leaving(f"{number}", 0.0, "rests") if leaves else Guest("", 0.0, "rests"))
    house.look(0.0)
    assert looked == [f"{number}" for number, leaves in enumerate(leaving) if leaves]
    assert len(house) == len(leaving) - len(looked)


TIMES = ("http_head_s", "http_body_s", "http_idle_s", "http_write_s")


@given(st.lists(st.floats(0.001, 1000), min_size=4, max_size=4))
def test_the_times_are_looked_at_four_times_in_the_shortest_within_reason(times):
    bounds = HttpBounds(**dict(zip(TIMES, times, strict=True)))
    assert bounds.http_look_s == min(1.0, max(0.005, min(times) / 4))
