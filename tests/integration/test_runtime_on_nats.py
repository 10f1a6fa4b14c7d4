"""The runtime's shells on a real broker: the bus, the work queue, the config stream."""

import asyncio
import contextlib
import dataclasses
import gc
import itertools
import json
import socket
import time
from collections.abc import AsyncIterator

import pytest
from nats.js.api import PersistMode, RetentionPolicy, StreamConfig
from tests.support.log_world import free_port, metric
from tests.support.nats import nats_server
from tests.support.polling import until, until_told
from tests.support.provisioned import provide, provided_consumer

from sie_runtime.broker.bus import (
    Bus,
    BusSettings,
    BusUnavailable,
    Message,
    NoResponders,
    connected_bus,
)
from sie_runtime.broker.bus_messages import direct
from sie_runtime.follower.log_source import LogSource, SourceFailed
from sie_runtime.follower.stored_log import follow
from sie_runtime.streams.broker_clock import BrokerClock
from sie_runtime.streams.broker_usage import QueueUsage, read_usage
from sie_runtime.streams.deliveries import Delivery, WorkQueueSettings, acknowledge
from sie_runtime.streams.log_stream import LogStream, WrongLastSequence, log_streams
from sie_runtime.streams.puller import Puller
from sie_runtime.streams.work_queue import WorkQueue
from sie_schemas.entry import to_envelope
from sie_schemas.errors import Later, SIEError, TimeRanOut
from sie_schemas.jobs import consumer_name, stream_name, stream_subjects, subject
from sie_testing.written_log import WrittenLog

pytestmark = pytest.mark.integration


@pytest.fixture
async def url(tmp_path):
    async with nats_server(tmp_path) as url:
        yield url


@pytest.fixture
async def bus(url):
    bus = await Bus.connect(BusSettings(nats_url=url), role="test", process_id="1")
    assert await bus.wait_connected(5)
    yield bus
    await bus.close()


@contextlib.asynccontextmanager
async def away(urls: str) -> AsyncIterator[Bus]:
    settings = BusSettings(nats_url=urls, nats_reconnect_wait_s=0.01)
    bus = await Bus.connect(settings, role="test", process_id="1")
    try:
        yield bus
    finally:
        await bus.close()


@contextlib.asynccontextmanager
async def two_clients(url: str) -> AsyncIterator[tuple[Bus, Bus]]:
    async with away(url) as one, away(url) as two:
        assert await one.wait_connected(5)
        assert await two.wait_connected(5)
        yield one, two


async def test_without_a_broker_a_bus_says_so_at_once_and_never_keeps_a_message(tmp_path):
    settings = BusSettings(nats_url="nats://127.0.0.1:1", nats_reconnect_wait_s=0.05)
    bus = await Bus.connect(settings, role="test", process_id="1")

    assert not bus.connected
    with pytest.raises(BusUnavailable):
        await bus.publish("a", b"")
    with pytest.raises(BusUnavailable):
        await bus.request("a", b"", timeout_s=1)
    await bus.close()


async def test_a_bus_that_never_connected_closes_whatever_it_was_about_to_do():
    # A refused connection that meets the cancellation was taken for an answer: it went on for ever.
    for ticks in range(40):
        settings = BusSettings(nats_url="nats://127.0.0.1:1", nats_reconnect_wait_s=0.001)
        bus = await Bus.connect(settings, role="test", process_id="1")
        for _ in range(ticks):
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await bus.close()


async def test_a_command_that_finds_no_broker_names_it_without_its_password():
    told = "nats://user:secret@127.0.0.1:1, nats://127.0.0.1:2"
    settings = BusSettings(nats_url=told, nats_reconnect_wait_s=0.01)
    with pytest.raises(BusUnavailable, match=r"at nats://127\.0\.0\.1:1, nats://127\.0\.0\.1:2 "):
        async with connected_bus(settings, role="log", process_id="1", within_s=0.05):
            pass


async def test_a_request_to_nobody_is_known_at_once(bus):
    with pytest.raises(NoResponders):
        await bus.request("nobody.home", b"", timeout_s=30)


async def test_a_subscription_made_before_the_connection_hears(url):
    bus = await Bus.connect(BusSettings(nats_url=url), role="test", process_id="1")
    heard: list[bytes] = []
    await bus.subscribe("news", lambda message: heard.append(message.data))
    assert await bus.wait_connected(5)

    await until(lambda: bus.connected)
    await bus.publish("news", b"x")

    await until(lambda: heard == [b"x"])
    await bus.close()


@pytest.mark.parametrize("ticks", range(1, 6))
async def test_who_leaves_while_it_subscribes_is_gone_and_hears_nothing(bus, ticks):
    # More at once than the library takes: the others waited, and it swallowed that they were told
    # to end. They went on, and their subscriptions with them.
    heard: set[str] = set()
    names = [f"crowd.{number}" for number in range(1500)]
    asking = {
        name: asyncio.create_task(bus.subscribe(name, lambda message: heard.add(message.subject)))
        for name in names
    }
    for _ in range(ticks):
        await asyncio.sleep(0)
    leaving = [name for name in names if asking[name].cancel()]
    await asyncio.wait(asking.values())
    assert all(asking[name].cancelled() for name in leaving)
    staying = set(names) - set(leaving)
    await bus.client.flush()
    for name in names:
        bus.send(name, b"x")
    await bus.client.flush()
    await until(lambda: heard >= staying)
    assert heard == staying
    assert len(bus._subscriptions) == len(staying)


async def test_a_callback_that_fails_does_not_keep_the_next_message_from_being_read(bus):
    heard: list[bytes] = []

    def take(message: Message) -> None:
        assert message.data != b"bad"
        heard.append(message.data)

    await bus.subscribe("news", take)
    await bus.publish("news", b"bad")
    await bus.publish("news", b"good")

    await until(lambda: heard == [b"good"])


async def test_large_and_small_messages_keep_their_order_whoever_takes_them(bus):
    heard: list[tuple[str, int]] = []

    def hear(message: Message) -> None:
        heard.append((message.subject, len(message.data)))

    async def hear_later(message: Message) -> None:
        hear(message)

    await bus.subscribe("at.once", hear)
    await bus.subscribe("by.task", hear_later)
    sizes = [10, 40_000, 11, 12, 300_000, 13, 20_000, 14]
    for size, name in itertools.product(sizes, ("at.once", "by.task")):
        await bus.publish(name, bytes(size))

    await until(lambda: len(heard) == 2 * len(sizes))
    for name in ("at.once", "by.task"):
        assert [size for by, size in heard if by == name] == sizes


async def test_a_request_that_nobody_answers_ends_in_time_and_leaves_nothing_behind(bus):
    await bus.subscribe("silence", lambda message: None)
    with pytest.raises(TimeRanOut):
        await bus.request("silence", b"", timeout_s=0.05)
    asking = asyncio.create_task(bus.request("silence", b"", timeout_s=30))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    assert not bus.client._answers


LANE = {"pool": "p", "machine_profile": "cpu", "bundle": "b", "model_id": "org/m"}


def job_subject() -> str:
    return subject("p", "cpu", "b", "org/m")


async def test_jobs_are_pulled_as_demand_allows_and_are_gone_after_their_ack(bus):
    await provided_consumer(bus, LANE)
    queue = WorkQueue(bus, WorkQueueSettings())
    for number in range(10):
        await queue.publish_job(subject=job_subject(), data=b"%d" % number, job_id=f"j{number}")
    await queue.publish_job(subject=job_subject(), data=b"again", job_id="j3")
    got: list[Delivery] = []
    room = 4
    puller = await queue.open_puller(**LANE, on_job=got.append, demand=lambda: room - len(got))
    await until(lambda: len(got) == 4)

    room = 20
    puller.wake(room - len(got))
    await until(lambda: len(got) == 10)
    for delivery in got:
        delivery.ack()

    assert [delivery.data for delivery in got] == [b"%d" % number for number in range(10)]
    # An acknowledgement is sent, not waited for.
    async with asyncio.timeout(60):
        while (await bus.client.jetstream().stream_info("WORK_POOL_p")).state.messages:
            await bus.client.flush()
    await puller.close()


async def test_a_job_that_is_given_back_comes_again_and_its_last_delivery_is_known(bus):
    await provided_consumer(bus, LANE, queue_deliveries_max=2)
    queue = WorkQueue(bus, WorkQueueSettings(queue_deliveries_max=2))
    await queue.publish_job(subject=job_subject(), data=b"x", job_id="j")
    got: list[Delivery] = []
    puller = await queue.open_puller(**LANE, on_job=got.append, demand=lambda: 5)
    await until(lambda: len(got) == 1)
    assert not got[0].last_delivery

    got[0].retry(0.01)
    await until(lambda: len(got) == 2)

    assert (got[1].delivery_count, got[1].last_delivery) == (2, True)
    got[1].terminate()
    await puller.close()


async def test_the_age_of_a_job_is_by_the_brokers_clock_and_by_no_other(bus):
    await provided_consumer(bus, LANE)
    queue = WorkQueue(bus, WorkQueueSettings())
    # A clock that only measures begins anywhere.
    measured = BrokerClock(bus, clock=lambda: time.monotonic() - 1e6)
    sent_at = time.monotonic()
    await queue.publish_job(subject=job_subject(), data=b"x", job_id="j")
    got: list[Delivery] = []
    puller = await queue.open_puller(**LANE, on_job=got.append, demand=lambda: 1)
    await until(lambda: got)
    assert measured.age_s(got[0].stored_at) == 0.0, "late before the broker has told its time"

    consumer = consumer_name(LANE["machine_profile"], LANE["bundle"], LANE["model_id"])
    await measured.look(stream_name(LANE["pool"]), consumer)

    assert measured.is_known
    age_s = measured.age_s(got[0].stored_at)
    assert 0 <= age_s <= time.monotonic() - sent_at + 0.05
    assert measured.age_s(got[0].stored_at - 3600) >= 3600
    # Without an answer it goes on by what it knows.
    await measured.look("no-stream", consumer)
    assert measured.age_s(got[0].stored_at) <= time.monotonic() - sent_at + 0.05
    got[0].ack()
    await puller.close()


async def test_whoever_sends_a_job_hears_what_became_of_it(bus):
    await provide(bus, ["p"], queue_messages_max=1)
    queue = WorkQueue(bus, WorkQueueSettings(queue_publish_timeout_s=2.0))
    heard: list[SIEError | None] = []

    async def sent(to: str, job_id: str) -> SIEError | None:
        heard.clear()
        queue.send_job(subject=to, data=b"x", job_id=job_id, heard=heard.append)
        await until(lambda: heard)
        return heard[0]

    await queue.open()
    assert await sent(job_subject(), "j1") is None
    # A repetition is stored already, and so not refused.
    assert await sent(job_subject(), "j1") is None
    full = await sent(job_subject(), "j2")
    assert isinstance(full, Later)
    assert full.code == "QUEUE_FULL"
    assert isinstance(await sent("sie.work.nowhere.a.b.c", "j3"), NoResponders)
    # Somebody listens there who stores nothing.
    await bus.subscribe("sie.work.silent.a.b.c", lambda message: None)
    assert isinstance(await sent("sie.work.silent.a.b.c", "j4"), BusUnavailable)


async def test_a_stream_and_a_consumer_that_come_late_are_waited_for(bus):
    queue = WorkQueue(bus, WorkQueueSettings(queue_renew_s=0.05))
    with pytest.raises(BusUnavailable, match="sie-config makes it"):
        await queue.publish_job(subject=job_subject(), data=b"x", job_id="j")
    got: list[Delivery] = []
    puller = await queue.open_puller(**LANE, on_job=got.append, demand=lambda: 5 - len(got))
    await provided_consumer(bus, LANE)

    await queue.publish_job(subject=job_subject(), data=b"x", job_id="j")

    await until(lambda: [delivery.data for delivery in got] == [b"x"])
    got[0].ack()
    # The broker loses them, and has them again.
    await bus.client.jetstream().delete_stream("WORK_POOL_p")
    await provided_consumer(bus, LANE)
    await queue.publish_job(subject=job_subject(), data=b"y", job_id="k")
    await until(lambda: len(got) == 2)
    await puller.close()


async def test_what_is_there_becomes_what_the_settings_say_and_keeps_its_messages(bus):
    await provided_consumer(bus, LANE)
    queue = WorkQueue(bus, WorkQueueSettings())
    await queue.publish_job(subject=job_subject(), data=b"x", job_id="j")

    provisions = await provided_consumer(bus, LANE, queue_messages_max=7, queue_ack_wait_s=3.0)

    info = await bus.client.jetstream().stream_info("WORK_POOL_p")
    assert (info.config.max_msgs, info.state.messages) == (7, 1)
    assert await provisions.consumers("p") == {"cpu_b_org~sm"}
    consumer = await bus.client.jetstream().consumer_info("WORK_POOL_p", "cpu_b_org~sm")
    assert consumer.config.ack_wait == 3.0


async def test_the_broker_tells_what_waits_in_each_pool_how_old_it_is_and_what_it_holds(bus):
    await provided_consumer(bus, LANE)
    assert (await read_usage(bus)).queues["p"] == QueueUsage(0, 100_000, 0, None)
    before = time.time()
    for number in range(3):
        await WorkQueue(bus, WorkQueueSettings()).publish_job(
            subject=job_subject(), data=b"x" * 1000, job_id=f"j{number}"
        )
    usage = await read_usage(bus)
    queue = usage.queues["p"]
    assert (queue.jobs, queue.bytes > 3000, usage.bytes >= queue.bytes) == (3, True, True)
    assert queue.oldest_at is not None
    assert before - 2 < queue.oldest_at < time.time() + 1
    assert (usage.bytes_max, usage.dead_letters) == (None, 0)


async def test_a_message_of_just_the_bound_is_taken_and_none_that_is_longer(bus):
    got: list[int] = []
    bound = bus.client.max_payload
    await bus.subscribe("long", lambda message: got.append(len(message.data)))
    for send in (bus.send, lambda to, data: bus.send_to_all([to.encode()], data)):
        send("long", bytes(bound))
        with pytest.raises(BusUnavailable, match="maximum payload"):
            send("long", bytes(bound + 1))
    await until(lambda: got == [bound] * 2)


async def test_an_answer_goes_to_where_processes_answer_and_to_no_other_subject(bus):
    heard: list[str] = []
    places = ("sie.answer.test.x", "_INBOX.test.x", "sie.result.a", "sie.answer", "sie.answers.a.b")
    for place in places:
        await bus.subscribe(place, lambda message: heard.append(message.subject))

    async def both(message: Message) -> None:
        message.answer(b"")
        await message.respond(b"")

    await bus.subscribe("asked", both)
    for place in places:
        bus.send("asked", b"", reply=place)
    await bus.client.flush()
    # Everything that was sent before this has come.
    await bus.subscribe("last", lambda message: heard.append("last"))
    await until(lambda: len(heard) >= 2)
    bus.send("last", b"")
    await until(lambda: "last" in heard)
    assert heard == [places[0], places[0], "last"]


async def test_of_many_answers_the_first_counts_and_the_others_are_no_errors(bus):
    def answer(message: Message) -> None:
        for number in range(5):
            message.answer(b"%d" % number)

    await bus.subscribe("eager", answer)
    before = metric("sie_bus_errors_total", kind="other")
    for _ in range(10):
        assert await bus.request("eager", b"", timeout_s=20) == b"0"
    await bus.client.flush()
    assert metric("sie_bus_errors_total", kind="other") == before


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("by_broker", [False, True])
async def test_who_hears_processes_hears_nothing_that_the_broker_was_made_to_send(
    bus, awaited, by_broker
):
    got: list[bytes] = []

    async def later(message: Message) -> None:
        got.append(message.data)

    hear = later if awaited else lambda message: got.append(message.data)
    await bus.subscribe("word", hear, by_broker=by_broker)
    bus.send("word", b"stored", headers=b"NATS/1.0\r\nNats-Stream: s\r\n\r\n")
    bus.send("word", b"status", headers=b"NATS/1.0 404\r\n\r\n")
    bus.send("word", b"pulled", reply="$JS.FC.s")
    bus.send("word", b"plain", headers=b"NATS/1.0\r\na: b\r\n\r\n")
    await until(lambda: b"plain" in got)
    assert got == [*([b"stored", b"status", b"pulled"] if by_broker else []), b"plain"]


async def test_what_has_ended_is_not_called_and_leaves_nothing_behind(tmp_path):
    port = free_port()
    called: list[str] = []
    async with away(f"nats://127.0.0.1:{port}") as bus:
        async with nats_server(tmp_path, port=port):
            assert await bus.wait_connected(60)
            forget = bus.on_reconnect(lambda: called.append("ended"))
            bus.on_reconnect(lambda: called.append("stays"))
            forget()
            takers = direct(bus.client)._takers
            kept = len(takers)
            for number in range(50):
                ended = await bus.subscribe(f"s.{number}", lambda message: called.append("heard"))
                await ended.unsubscribe()
                await ended.unsubscribe()
            await bus.subscribe("echo", lambda message: message.answer(b""))
            for _ in range(50):
                await bus.request("echo", b"", timeout_s=3600)
            assert bus.client.pending_data_size == 0
            # Of the one that stays, and of the answers of processes.
            assert len(takers) == kept + 2
            late = asyncio.get_running_loop().time() + 1800
            # By type: an object may answer for its class, and some warn whoever asks.
            of_loops = asyncio.TimerHandle
            timers = [each for each in gc.get_objects() if issubclass(type(each), of_loops)]
            assert not [each for each in timers if each.when() > late and not each.cancelled()]
            called.clear()
        async with nats_server(tmp_path, port=port):
            await until(lambda: bool(called))
    assert called == ["stays"]


async def test_what_was_sent_before_a_subscription_is_drained_still_comes(bus):
    got: list[bytes] = []
    subscription = await bus.subscribe("drained", lambda message: got.append(message.data))
    for number in range(1000):
        bus.send("drained", b"%d" % number)

    await subscription.drain()

    assert got == [b"%d" % number for number in range(1000)]


async def test_a_closed_puller_keeps_no_job_that_was_on_its_way(bus):
    await provided_consumer(bus, LANE, queue_ack_wait_s=60.0)
    queue = WorkQueue(bus, WorkQueueSettings())
    first: list[bytes] = []
    second: list[bytes] = []
    leaving = await queue.open_puller(
        **LANE, on_job=lambda job: first.append(job.data), demand=lambda: 50
    )
    jobs = [
        queue.publish_job(subject=job_subject(), data=b"%d" % number, job_id=f"j{number}")
        for number in range(40)
    ]
    await asyncio.gather(leaving.close(), *jobs)

    staying = await queue.open_puller(
        **LANE, on_job=lambda job: second.append(job.data), demand=lambda: 50
    )

    await until(lambda: len(first) + len(second) == 40)
    assert len(set(first + second)) == 40
    await staying.close()


async def test_a_worker_of_an_idle_queue_that_stops_takes_one_job_of_what_comes(bus):
    await provided_consumer(bus, LANE)
    queue = WorkQueue(bus, WorkQueueSettings())
    stopped: list[Delivery] = []
    others: list[Delivery] = []
    stopping = await queue.open_puller(
        **LANE, on_job=stopped.append, demand=lambda: 0 if stopped else 50
    )

    async def is_asked() -> bool:
        consumer = await bus.client.jetstream().consumer_info("WORK_POOL_p", "cpu_b_org~sm")
        return bool(consumer.num_waiting)

    await until_told(is_asked)
    going = await queue.open_puller(**LANE, on_job=others.append, demand=lambda: 50)
    for number in range(20):
        await queue.publish_job(subject=job_subject(), data=b"%d" % number, job_id=f"j{number}")

    await until(lambda: len(others) == 19)
    assert len(stopped) == 1
    await stopping.close()
    await going.close()


async def reconnecting(settings: BusSettings) -> Bus:
    """A connected bus that outlives its broker; whoever asks closes it."""
    bus = await Bus.connect(settings, role="test", process_id="1")
    assert await bus.wait_connected(5)
    return bus


async def pulling(bus: Bus) -> tuple[WorkQueue, list[Delivery], Puller]:
    """A queue, the first five jobs of the lane as they come, and their puller."""
    queue = WorkQueue(bus, WorkQueueSettings())
    got: list[Delivery] = []
    puller = await queue.open_puller(**LANE, on_job=got.append, demand=lambda: 5 - len(got))
    return queue, got, puller


async def test_pulling_goes_on_after_the_broker_was_killed(tmp_path):
    async with nats_server(tmp_path) as url:
        port = int(url.rpartition(":")[2])
        bus = await reconnecting(BusSettings(nats_url=url, nats_reconnect_wait_s=0.05))
        await provided_consumer(bus, LANE)
        queue, got, puller = await pulling(bus)
    await until(lambda: not bus.connected)
    async with nats_server(tmp_path, port=port):
        await until(lambda: bus.connected)

        await queue.publish_job(subject=job_subject(), data=b"x", job_id="j")

        await until(lambda: [delivery.data for delivery in got] == [b"x"])
        got[0].ack()
        await puller.close()
        await bus.close()


async def test_a_late_word_goes_to_any_broker_of_a_queue_that_has_copies(tmp_path):
    async with nats_server(tmp_path) as url:
        port = int(url.rpartition(":")[2])
        settings = BusSettings(nats_url=url, nats_reconnect_wait_s=0.05)
        async with connected_bus(settings, role="test", process_id="0") as maker:
            # On the disk at once, as one of several copies is.
            durable = StreamConfig(
                name=stream_name("p"),
                subjects=[stream_subjects("p")],
                retention=RetentionPolicy.WORK_QUEUE,
            )
            await provide(maker)
            await maker.client.jetstream().add_stream(durable)
            await provided_consumer(maker, LANE)
        bus = await reconnecting(dataclasses.replace(settings, nats_replicas=3))
        queue, got, puller = await pulling(bus)
        await queue.publish_job(subject=job_subject(), data=b"kept", job_id="j")
        await until(lambda: got)
    await until(lambda: not bus.connected)
    async with nats_server(tmp_path, port=port):
        await until(lambda: bus.connected)
        jetstream = bus.client.jetstream()
        assert (await jetstream.stream_info("WORK_POOL_p")).state.messages == 1
        got[0].ack()
        async with asyncio.timeout(60):
            while (await jetstream.stream_info("WORK_POOL_p")).state.messages:
                await bus.client.flush()
        await puller.close()
        await bus.close()


async def test_a_late_word_on_a_job_that_its_broker_forgot_ends_no_job_of_the_next(tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    async with nats_server(folders[0]) as url:
        port = int(url.rpartition(":")[2])
        bus = await reconnecting(BusSettings(nats_url=url, nats_reconnect_wait_s=0.05))
        await provided_consumer(bus, LANE)
        queue, got, puller = await pulling(bus)
        await queue.publish_job(subject=job_subject(), data=b"forgotten", job_id="j")
        await until(lambda: got)
    await until(lambda: not bus.connected)
    async with nats_server(folders[1], port=port):
        await until(lambda: bus.connected)
        await provided_consumer(bus, LANE)
        await queue.publish_job(subject=job_subject(), data=b"next", job_id="k")
        await until(lambda: len(got) == 2)
        assert [sequence_of(delivery) for delivery in got] == [1, 1]

        got[0].ack()
        await bus.client.flush()

        left = (await bus.client.jetstream().stream_info("WORK_POOL_p")).state.messages
        assert left == 1
        acknowledge(got)
        async with asyncio.timeout(60):
            while (await bus.client.jetstream().stream_info("WORK_POOL_p")).state.messages:
                await bus.client.flush()
        await puller.close()
        await bus.close()


def sequence_of(delivery: Delivery) -> int:
    """The place in the queue, by `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.…`"""
    return int(delivery._reply.split(b".")[5])


def log_of(entries: int) -> WrittenLog:
    log = WrittenLog()
    for number in range(entries - 1):
        log.put("model", f"m{number}", {"n": number})
    return log


async def filled(bus: Bus, log: WrittenLog) -> LogStream:
    stream = LogStream(bus, log.log_id)
    await stream.ensure(first_epoch=1, metadata={"log_id": log.log_id})
    for entry in log.entries:
        await stream.append(entry.epoch, to_envelope(entry))
    return stream


async def test_the_stream_takes_each_epoch_once_and_in_order(bus):
    log = log_of(3)
    stream = await filled(bus, log)

    for epoch in (1, 3, 5):
        with pytest.raises(WrongLastSequence) as caught:
            await stream.append(epoch, b"x")
        assert caught.value.last_sequence == 3

    tip = await stream.tip()
    assert tip is not None
    assert (tip.first, tip.last, tip.metadata["log_id"]) == (1, 3, log.log_id)
    assert await stream.read(2) == to_envelope(log.entries[1])
    assert await stream.read(9) is None
    assert await stream.read_range(0, 9) == [to_envelope(entry) for entry in log.entries]
    assert list(await log_streams(bus)) == [log.log_id]


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"code": 503, "err_code": 10008, "description": "temporarily unavailable"}},
        {"total": 1, "offset": 0, "streams": [], "missing": ["CFG_" + "f" * 32]},
    ],
    ids=["it cannot", "it cannot tell of all"],
)
async def test_a_broker_that_cannot_list_its_streams_is_not_taken_for_an_empty_one(
    tmp_path, answer
):
    plain = tmp_path / "plain.conf"
    plain.touch()
    async with nats_server(tmp_path / "plain", config=plain) as url, two_clients(url) as (one, two):
        # Where the broker has no JetStream, somebody else may speak in its name.
        told = json.dumps(answer).encode()

        async def tell(asked: Message) -> None:
            await two.client.publish(asked.reply, told)

        await two.subscribe("$JS.API.STREAM.LIST", tell)
        await two.client.flush()
        with pytest.raises(BusUnavailable):
            await log_streams(one)


async def test_a_bus_tells_a_broker_that_is_absent_from_one_that_is_silent():
    nobody = f"nats://127.0.0.1:1,nats://127.0.0.1:{free_port()}"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        some = f"{nobody},nats://127.0.0.1:{silent.getsockname()[1]}"
        silent.setblocking(False)
        loop = asyncio.get_running_loop()
        async with away(nobody) as absent, away(some) as one:
            await until(lambda: absent.absent)
            # Again and again: who refuses does so between two that are silent.
            for _ in range(3):
                met, _ = await loop.sock_accept(silent)
                assert not one.absent
                met.close()


async def test_a_broker_that_once_was_there_is_never_taken_for_none(tmp_path):
    # A sie-config with an empty file would begin a log beside the one that the broker holds.
    port = free_port()
    async with away(f"nats://127.0.0.1:{port}") as one:
        await until(lambda: one.absent)
        for life in range(2):
            async with nats_server(tmp_path, port=port):
                while not one.connected:
                    assert life == 0 or not one.absent
                    await asyncio.sleep(0)
            await until(lambda: not one.connected)
            assert not one.absent


async def test_a_refusal_is_of_the_last_attempt_and_of_none_once_it_is_let_in(tmp_path):
    port, guarded = free_port(), tmp_path / "guarded.conf"
    guarded.write_text('authorization { user: "a", password: "b" }')
    async with away(f"nats://127.0.0.1:{port}") as one:
        async with nats_server(tmp_path / "guarded", port=port, config=guarded):
            await until(lambda: one.refusal)
            assert not one.connected
        async with nats_server(tmp_path / "open", port=port):
            assert await one.wait_connected(60)
            assert one.refusal == ""


async def test_a_stream_that_continues_a_log_begins_at_its_epoch(bus):
    stream = LogStream(bus, "f" * 32)
    await stream.ensure(first_epoch=41, metadata={})

    await stream.append(41, b"x")

    tip = await stream.tip()
    assert tip is not None
    assert (tip.first, tip.last) == (41, 41)


async def test_a_recreated_stream_is_empty_and_takes_the_first_epoch_again(bus):
    log = log_of(3)
    stream = await filled(bus, log)

    await stream.recreate(first_epoch=1, metadata={})

    await stream.append(1, to_envelope(log.entries[0]))
    tip = await stream.tip()
    assert tip is not None
    assert tip.last == 1


async def test_a_follower_of_the_stream_hears_old_and_new(bus):
    log = log_of(4)
    stream = await filled(bus, log)
    heard: list[int] = []
    stop = asyncio.Event()

    def take(sequence: int, data: bytes) -> bool:
        heard.append(sequence)
        return True

    async def run() -> str:
        return await follow(
            bus,
            log.log_id,
            start_epoch=3,
            on_message=take,
            stop=stop,
        )

    running = asyncio.create_task(run())
    await until(lambda: heard == [3, 4])
    await stream.append(5, to_envelope(log.put("model", "new", {})))
    await until(lambda: heard == [3, 4, 5])
    stop.set()

    assert await asyncio.wait_for(running, 60) == "stopped"


async def test_of_two_logs_on_one_broker_a_replica_hears_its_own_and_begins_with_neither(bus):
    one, two = log_of(3), WrittenLog("another")
    for name in ("x", "y", "z"):
        two.put("model", name, {})
    streams = [await filled(bus, log) for log in (one, two)]
    source = LogSource("http://127.0.0.1:1", bus, timeout_s=1, page_entries=100)
    heard: list[bytes] = []
    stop = asyncio.Event()

    def take(_: int, data: bytes) -> bool:
        heard.append(data)
        return True

    following = asyncio.create_task(
        follow(
            bus,
            one.log_id,
            start_epoch=1,
            on_message=take,
            stop=stop,
        )
    )
    try:
        await until(lambda: len(heard) == one.epoch)
        for log, stream in ((two, streams[1]), (one, streams[0])):
            entry = log.put("model", "new", {})
            await stream.append(entry.epoch, to_envelope(entry))
        await until(lambda: len(heard) == one.epoch)
        assert heard == [to_envelope(entry) for entry in one.entries]
        for log in (one, two):
            assert await source.entries_from_stream(log.log_id, 0, 99) == tuple(log.entries)
        with pytest.raises(SourceFailed, match="2 streams hold"):
            await source.whole_log_from_stream()
        # One that begins later leaves no doubt.
        await streams[1].trim(2)
        assert await source.whole_log_from_stream() == tuple(one.entries)
    finally:
        stop.set()
        await following
        await source.close()


async def test_without_a_stream_there_is_nothing_to_follow(bus):
    with pytest.raises(BusUnavailable):
        await follow(
            bus,
            "0" * 32,
            start_epoch=1,
            on_message=lambda sequence, data: True,
            stop=asyncio.Event(),
        )


async def test_a_queue_of_an_older_release_keeps_its_jobs_and_is_mended(bus):
    """A stream is written in the way that it was made with; all else is brought up to date."""
    jetstream = bus.client.jetstream()
    config = StreamConfig(
        name=stream_name("old"),
        subjects=[stream_subjects("old")],
        retention=RetentionPolicy.WORK_QUEUE,
    )
    await jetstream.add_stream(config)
    await jetstream.publish(subject("old", "cpu", "default", "m"), b"job")
    await provide(bus, ["old", "new"], queue_messages_max=7)
    old, new = [(await jetstream.stream_info(stream_name(pool))) for pool in ("old", "new")]
    assert (old.state.messages, old.config.max_msgs, new.config.max_msgs) == (1, 7, 7)
    assert (old.config.persist_mode, new.config.persist_mode) == (None, PersistMode.ASYNC)
