"""Laws of what `sie events` shows of replicas: each move once, each failure once, by who lives."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sie_cli.config.happenings import ReplicaChanges, of_audit

ROWS = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["fresh", "stale", "forked"]),
        "live": st.booleans(),
        "gone": st.booleans(),
        "reason": st.sampled_from(["", "why"]),
        "failed": st.dictionaries(
            st.sampled_from(["m", "n"]), st.sampled_from(["one", "two"]), max_size=2
        ),
    }
)
VIEWS = st.lists(st.dictionaries(st.sampled_from(["a", "b"]), ROWS), min_size=1, max_size=5)


def state_of(row: dict[str, Any]) -> str:
    return "gone" if row["gone"] else row["state"] if row["live"] else "lost"


@given(views=VIEWS)
def test_a_view_tells_what_moved_since_the_one_before_and_what_newly_fails(views):
    changes = ReplicaChanges()
    before: dict[str, Any] = {}
    failed: dict[tuple[str, str], str] = {}
    for number, view in enumerate(views):
        rows = [{"role": "worker", "id": each, **row} for each, row in view.items()]
        told = list(changes.rows(rows, "t"))
        moved = {row["who"].split()[1] for row in told if row["what"] == "replica"}
        if number == 0:
            assert moved == {each for each in view if state_of(view[each]) not in ("fresh", "gone")}
        else:
            assert moved == {
                each
                for each in view.keys() | before.keys()
                if (each in view) != (each in before)
                or state_of(view[each]) != state_of(before[each])
            }
        now = {
            (each, model): reason
            for each, row in view.items()
            if row["live"]
            for model, reason in row["failed"].items()
        }
        newly = [
            f"cannot load {model}: {reason}"
            for (each, model), reason in now.items()
            if failed.get((each, model)) != reason
        ]
        assert [row["message"] for row in told if row["what"] == "failed"] == newly
        # The same view again is no news.
        assert not list(changes.rows(rows, "t"))
        before, failed = view, now


@given(shown=st.integers(1, 6), more=st.integers(0, 5))
def test_a_change_tells_how_many_it_leaves_out(shown, more):
    changes = [{"verb": "put", "kind": "pool", "key": str(each)} for each in range(shown)]
    row = {
        "ts": "t",
        "actor": "eve",
        "outcome": "accepted",
        "epoch": 3,
        "reason": "",
        "changes": changes,
        "changed": shown + more,
    }
    left_out = shown + more - min(4, shown)
    message = of_audit(row)["message"]
    assert message.count("put pool/") == min(4, shown)
    assert message.endswith(f" and {left_out} more") == (left_out > 0)
