"""The reader of the feed: events whole, however their bytes come and whatever their texts hold."""

import json

import pytest

from sie_schemas.errors import OurFault
from sie_sdk.config.feed import FeedReader

REASON = "one\u2028two\u2029three\x85four\x0bfive"
TOLD = {"replicas": [{"id": "g1", "reason": REASON}]}
FEED = (
    "id: 0123abcd.7\nevent: entry\ndata: {}\n\n"
    f"event: replicas\r\ndata: {json.dumps(TOLD, ensure_ascii=False)}\r\n\r\n"
).encode()


@pytest.mark.parametrize("size", [1, 2, 7, len(FEED)])
def test_events_are_read_whole_however_their_bytes_come(size):
    reader = FeedReader()
    parts = [FEED[at : at + size] for at in range(0, len(FEED), size)]
    told = [reader.take(line) for part in parts for line in reader.lines(part)]
    events = [event for event in told if event is not None]
    assert [(event.name, event.id) for event in events] == [
        ("entry", "0123abcd.7"),
        ("replicas", ""),
    ]
    assert events[1].data == TOLD


def test_what_is_no_event_is_an_error():
    reader = FeedReader()
    with pytest.raises(OurFault, match="cannot be read"):
        for line in reader.lines(b"event: entry\ndata: {\n\n"):
            reader.take(line)
