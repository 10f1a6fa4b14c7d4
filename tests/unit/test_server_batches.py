"""Connections of batches: what their thread does with what comes, and with peers that leave."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sie_schemas import ipc
from sie_schemas.ipc.frames import Frames
from sie_server.execution.batches import BatchConnections, Send

_GREETING = ipc.Pong(0)


def _batch(number: int) -> bytes:
    return ipc.encode(ipc.RunBatch(id=number, model_revision="m", operation="encode", inputs=()))


def _ids(peer: socket.socket, count: int) -> list[int]:
    """The ids of the next replies."""
    frames, found = Frames(), list[int]()
    while len(found) < count:
        found += [ipc.decode_reply(body).id for body in frames.feed(peer.recv(1 << 16))]
    return found


@contextmanager
def _peers(
    run: Callable[[ipc.RunBatch, Send], None],
) -> Iterator[tuple[BatchConnections, socket.socket]]:
    """The connections, of which one is greeted, and the other end of that one."""
    connections = BatchConnections(run, frame_bytes_max=1000)
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.settimeout(60)
        connections.adopt(ours, _GREETING)
        assert _ids(theirs, 1) == [0]
        # The thread is called away from those that it has.
        serving = threading.Thread(target=connections.serve, daemon=True)
        serving.start()
        serving.join(10)
        assert not serving.is_alive()
        yield connections, theirs
        connections.finish()


@contextmanager
def _unanswered() -> Iterator[tuple[Send, socket.socket]]:
    """The way to answer a batch that was run, and the peer that waits for it."""
    later: list[Send] = []

    def run(request: ipc.RunBatch, send: Send) -> None:
        later.append(send)
        connections.interrupt()

    with _peers(run) as (connections, peer):
        peer.sendall(_batch(1))
        connections.serve()
        yield later[0], peer


def _echo(request: ipc.RunBatch, send: Send) -> None:
    send(ipc.Pong(request.id))


def test_batches_are_answered_in_order_until_the_thread_is_called_away():
    with _peers(_echo) as (connections, peer):
        thread = threading.Thread(target=connections.serve)
        thread.start()
        peer.sendall(_batch(1) + _batch(2)[:9])
        assert _ids(peer, 1) == [1]
        peer.sendall(_batch(2)[9:] + _batch(3))
        assert _ids(peer, 2) == [2, 3]
        connections.interrupt()
        thread.join(60)
        assert not thread.is_alive()


def test_what_was_asked_for_by_a_peer_who_is_gone_is_not_run_and_what_others_asked_for_is():
    ran: list[int] = []

    def run(request: ipc.RunBatch, send: Send) -> None:
        ran.append(request.id)
        peer.close()
        send(ipc.Pong(request.id))
        connections.interrupt()

    ours, other = socket.socketpair()
    with other, _peers(run) as (connections, peer):
        connections.adopt(ours, _GREETING)
        connections.serve()
        peer.sendall(_batch(1) + _batch(2) + _batch(3))
        other.sendall(_batch(4))
        connections.serve()
    assert ran == [1, 4]


def test_what_is_submitted_to_the_device_goes_before_a_batch_that_waits():
    ran: list[int] = []

    def run(request: ipc.RunBatch, send: Send) -> None:
        ran.append(request.id)
        connections.interrupt()

    with _peers(run) as (connections, peer):
        peer.sendall(_batch(1) + _batch(2))
        connections.serve()
        assert ran == [1]
        connections.serve()
        assert ran == [1, 2]


def test_at_the_end_what_has_come_is_run_and_the_connection_closed():
    with _peers(_echo) as (connections, peer):
        peer.sendall(_batch(1) + _batch(2))
        connections.finish()
        assert _ids(peer, 2) == [1, 2]
        assert peer.recv(1) == b""


def test_a_batch_may_be_answered_later_from_another_thread():
    with _unanswered() as (send, peer):
        answering = threading.Thread(target=send, args=[ipc.Pong(1)])
        answering.start()
        assert _ids(peer, 1) == [1]
        answering.join(60)


@pytest.mark.parametrize(
    "frame",
    [
        ipc.encode(ipc.Ping(id=5)),
        ipc.encode(ipc.Load(id=5, revision="m", config={})),
        ipc.encode(ipc.Unload(id=5, revision="m")),
        ipc.FRAME_HEADER.pack(3) + b"abc",
    ],
    ids=["a ping", "a load", "an unload", "garbage"],
)
def test_what_is_no_batch_is_not_run_and_ends_its_connection_alone(frame):
    ran: list[int] = []

    def run(request: ipc.RunBatch, send: Send) -> None:
        ran.append(request.id)
        send(ipc.Pong(request.id))

    ours, other = socket.socketpair()
    with other, _peers(run) as (connections, peer):
        connections.adopt(ours, _GREETING)
        connections.serve()
        peer.sendall(_batch(1) + frame + _batch(2))
        other.sendall(_batch(3))
        connections.finish()
        assert _ids(peer, 1) == [1]
        assert peer.recv(1) == b""
    assert ran == [1, 3]


def test_whoever_takes_no_reply_is_gone_and_what_he_asked_for_is_not_run():
    ran: list[int] = []

    def run(request: ipc.RunBatch, send: Send) -> None:
        ran.append(request.id)
        send(ipc.Pong(request.id))
        connections.interrupt()

    with _peers(run) as (connections, peer):
        peer.shutdown(socket.SHUT_RD)
        peer.sendall(_batch(1) + _batch(2))
        connections.serve()
    assert ran == [1]


def test_answers_from_many_threads_come_whole():
    with _unanswered() as (send, peer):
        # Bytes: more than a socket holds, so that without a lock one is within the other. Of two
        # such answers every second pair came one after the other all the same.
        long, threads_count, each_sends = 400_000, 4, 15
        answers = [
            ipc.BatchDone(
                id=number,
                inference_ms=1.0,
                answers=ipc.DenseAnswers(number, bytes([number]) * long),
            )
            for number in range(threads_count * each_sends)
        ]

        def send_all(some: list[ipc.BatchDone]) -> None:
            for each in some:
                send(each)

        threads = [
            threading.Thread(target=send_all, args=[answers[first::threads_count]])
            for first in range(threads_count)
        ]
        for thread in threads:
            thread.start()
        frames, found = Frames(), list[ipc.Reply]()
        while len(found) < len(answers):
            found += map(ipc.decode_reply, frames.feed(peer.recv(1 << 16)))
        for thread in threads:
            thread.join(60)
    assert sorted(found, key=lambda each: each.id) == answers
