"""Bytes that release 0.2.0 wrote: today's readers take each, and read what was said.

`tests/data/wire-0.2.0` is never made again. Release 0.2.0 itself made it: `messages.ndjson` has
every message with the fewest and with all of its fields, and what it reads in them. A writer of
that release answered with `log.ndjson`, `export.json` and `epoch.json`. Its log has every kind of
change, a forced write, an idempotency key, a second log id and signatures.

Between two releases old bytes are on the queue, in the buckets and on the way.
"""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sie_core.chain import begins_log, position_of
from sie_core.replica.events import EntryArrived, SnapshotArrived
from sie_core.replica.replica import Replica
from sie_core.trust import Trust
from sie_runtime.follower.replica_reports import _TailRequest
from sie_runtime.signing import verify
from sie_schemas import fleet, items, snapshot
from sie_schemas.api.leases import LEASE_DECODER, LEASE_REQUEST_DECODER
from sie_schemas.dead_letters import DEAD_LETTER_DECODER
from sie_schemas.entry import ChangeKind, Entry, Stub, parse_envelope
from sie_schemas.ipc.frames import Frames
from sie_schemas.ipc.messages import decode_reply, decode_request
from sie_schemas.jobs import JOB_DECODER, ONE_RESULT_DECODER, RECEIPT_DECODER, RESULT_DECODER
from sie_testing.signing import FIRST_CONTACT

WIRE = Path(__file__).parents[1] / "data" / "wire-0.2.0"
MESSAGES = [json.loads(line) for line in (WIRE / "messages.ndjson").read_text().splitlines()]
READERS: dict[str, Any] = {
    "Job": JOB_DECODER,
    "JobResult": ONE_RESULT_DECODER,
    "ResultBatch": RESULT_DECODER,
    "ResultReceipt": RECEIPT_DECODER,
    "Heartbeat": fleet.HEARTBEAT_DECODER,
    "WantedModels": fleet.WANTED_DECODER,
    "DemandAsked": fleet.DEMAND_DECODER,
    "HoldingAsked": fleet.HOLDING_ASKED_DECODER,
    "HoldingAnswer": fleet.HOLDING_ANSWER_DECODER,
    "HandedOutAsked": fleet.QUEUE_ASKED_DECODER,
    "GiveBack": fleet.QUEUE_ASKED_DECODER,
    "QueueAnswer": fleet.QUEUE_ANSWER_DECODER,
    "DeadLetter": DEAD_LETTER_DECODER,
    "Head": fleet.HEAD_DECODER,
    "ReplicaReport": fleet.REPORT_DECODER,
    "Recount": fleet.RECOUNT_DECODER,
    "Lease": LEASE_DECODER,
    "LeaseRequest": LEASE_REQUEST_DECODER,
    "TailRequest": msgspec.json.Decoder(_TailRequest),
}
REQUESTS = {
    "EncodeRequest": items.EncodeRequest,
    "ScoreRequest": items.ScoreRequest,
    "ExtractRequest": items.ExtractRequest,
}
ASKED = {"ping", "batches", "load", "load_adapter", "unload", "run"}
"""The tags of the frames that a worker sends; those of model execution are replies."""

LEFT = {("RunBatch", ".threads"), ("Hello", ".threads_max")}
"""Fields that a later release took away: a batch is lent no threads any more."""


def read(message: dict[str, Any]) -> Any:
    """A message as today's reader of it has it."""
    data = base64.b64decode(message["bytes"])
    name, form = message["message"], message["form"]
    if form == "frame":
        [body] = Frames().feed(data)
        return (decode_request if message["says"]["type"] in ASKED else decode_reply)(body)
    if name in REQUESTS:
        decoder = msgspec.json.decode if form == "json" else msgspec.msgpack.decode
        return decoder(data, type=REQUESTS[name])
    return READERS[name].decode(data)


def plain(message: Any) -> Any:
    """A message as JSON has it, as the recorded words are."""
    return msgspec.json.decode(msgspec.json.encode(message))


def missing(said: Any, read: Any, path: str = "") -> list[str]:
    """Each value that was said and is not read. What a later release adds may be there too."""
    match said, read:
        case dict(), dict():
            return [
                where
                for key, value in said.items()
                for where in missing(value, read.get(key, "(absent)"), f"{path}.{key}")
            ]
        case list(), list() if len(said) == len(read):
            return [
                where
                for index, value in enumerate(said)
                for where in missing(value, read[index], f"{path}[{index}]")
            ]
    return [] if said == read else [f"{path}: {said!r} was said, {read!r} is read"]


@pytest.mark.parametrize(
    "message", MESSAGES, ids=lambda m: "-".join(map(str, list(m.values())[1:4]))
)
def test_a_message_is_read_as_it_was_said(message):
    unread = missing(message["says"], plain(read(message)))
    left = {(message["message"], each.partition(":")[0]) for each in unread}
    assert left <= LEFT, unread


def test_every_message_is_here_with_the_fewest_and_with_all_of_its_fields():
    frames = {"Ping", "Batches", "Load", "LoadAdapter", "Unload", "RunBatch", "Hello", "Pong"}
    frames |= {"Loaded", "AdapterLoaded", "BatchDone", "Failed"}
    for fields in ("fewest", "all"):
        here = {each["message"] for each in MESSAGES if each["fields"] == fields}
        assert here == frames | READERS.keys() | REQUESTS.keys()
    texts = json.dumps([each["says"] for each in MESSAGES])
    for tag in ("dense", "encoded", "scores", "entities", "tokens", "text", "pair", "image"):
        assert f'"type": "{tag}"' in texts


def entries() -> tuple[Entry, ...]:
    found = [parse_envelope(line) for line in (WIRE / "log.ndjson").read_bytes().splitlines()]
    assert not [each for each in found if isinstance(each, Stub)]
    return tuple(each for each in found if isinstance(each, Entry))


def test_its_log_has_every_kind_of_change_and_is_replayed_to_its_own_digests():
    log, head = entries(), fleet.HEAD_DECODER.decode((WIRE / "epoch.json").read_bytes())
    assert {change.kind for entry in log for change in entry.changes} == set(ChangeKind)
    assert [entry.forced for entry in log if entry.forced] == ["moving house"]
    assert [entry.epoch for entry in log if entry.idempotency] == [6]
    assert [entry.epoch for entry in log if begins_log(entry)] == [1, 16]
    brought = Trust(verify).after(log[0])
    assert brought.public is not None
    # An empty replica takes entries from a stream only under a key that it was given.
    replica = Replica(Trust(verify, brought.public))
    for entry in log:
        replica.receive(EntryArrived(entry))
        assert replica.position == position_of(entry)
        assert replica.registry.digest == entry.state_digest
    assert brought.accepts(head)
    assert (log[-1].hash, replica.registry.digest) == (head.hash, head.digest)


def test_its_snapshot_and_the_entries_of_its_log_lead_to_one_registry():
    found = snapshot.decode((WIRE / "export.json").read_bytes())
    replica = Replica(FIRST_CONTACT)
    replica.receive(SnapshotArrived(0, found))
    assert replica.position == position_of(entries()[-1])
    assert replica.registry.digest == entries()[-1].state_digest
    assert len(found.lineage) == 2


def test_its_stub_stands_for_the_entry_of_its_log():
    stub = parse_envelope((WIRE / "stub.json").read_bytes())
    assert isinstance(stub, Stub)
    last = entries()[-1]
    assert (stub.epoch, stub.hash, stub.state_digest) == (last.epoch, last.hash, last.state_digest)
