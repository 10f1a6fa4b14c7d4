"""The broadcast: the writer's log published and announced, and writes taken by right.

*shell.* Owns the publisher of one log. Promises that with the bus up no write is taken before the
tenure is on the stream, and that what recovers publishes nothing.
"""

import asyncio
from collections.abc import Callable

from sie_config.log.journal import Journal
from sie_config.settings import ConfigSettings
from sie_config.stream.announcer import announce
from sie_config.stream.publisher import Publisher
from sie_config.stream.stream_witness import Stream
from sie_config.stream.write_traces import WriteTraces
from sie_config.writer.sequencer import Sequencer
from sie_config.writer.writer_state import UNFENCED, Recovery, Serving
from sie_runtime.broker.bus import Bus
from sie_runtime.process.tracing import task_trace
from sie_runtime.streams.log_stream import LogStream

__all__ = ["Broadcast", "streams_of"]


class Broadcast:
    """Owner: the control plane. `stream_of` None: there is no stream, and nothing is published."""

    def __init__(
        self,
        settings: ConfigSettings,
        sequencer: Sequencer,
        journal: Journal,
        *,
        bus: Bus | None,
        stream_of: Callable[[str], Stream] | None,
        low_water: Callable[[], int],
    ) -> None:
        self.publisher: Publisher | None = None
        """None until the log is one that may be published."""
        self.traces = WriteTraces()
        self._settings = settings
        self._sequencer = sequencer
        self._journal = journal
        self._bus = bus
        self._stream_of = stream_of
        self._low_water = low_water

    @property
    def published_epoch(self) -> int:
        """The newest epoch that is on the stream, as far as is verified; 0 for none."""
        return self.publisher.published if self.publisher is not None else 0

    def is_published(self, epoch: int) -> bool:
        """True if an epoch is on the stream, as far as is verified."""
        return self.published_epoch >= epoch

    async def begin(self) -> None:
        """With the bus up, have the tenure on the stream before the first answer."""
        publisher = self._ready_publisher()
        if publisher is not None:
            await publisher.catch_up()
            self.take_writes()

    def take_writes(self) -> None:
        """Serve, once the tenure is on the stream; with the bus away, nothing can fence at all."""
        sequencer = self._sequencer
        bus_is_up = self._bus is not None and self._bus.connected
        fenced = self.is_published(sequencer.begun_at)
        if sequencer.state == UNFENCED and (fenced or not bus_is_up):
            sequencer.enter(Serving(sequencer.witnessed))

    async def run(self, stop: asyncio.Event) -> None:
        """Publish and announce until `stop`."""
        publisher = self._ready_publisher()
        if publisher is None:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publisher.run(stop))
            if self._bus is not None and self._settings.bookmark_s > 0:
                tasks.create_task(
                    announce(
                        self._bus,
                        publisher,
                        self._sequencer,
                        self._journal,
                        every_s=self._settings.bookmark_s,
                        stop=stop,
                    )
                )

    def _ready_publisher(self) -> Publisher | None:
        """The publisher, made when it is first needed; None where nothing may be published."""
        if self._stream_of is None or isinstance(self._sequencer.state, Recovery):
            return None
        if self.publisher is None:
            self.publisher = Publisher(
                self._stream_of(self._sequencer.position.log_id),
                self._sequencer,
                self._journal,
                low_water=self._low_water,
                retry_s=self._settings.publish_retry_s,
                verify_s=self._settings.publish_verify_s,
                traces=self.traces,
            )
            if self._bus is not None:
                # The broker behind a new connection may have lost its store, or be another one.
                self._bus.on_reconnect(self.publisher.distrust)
        return self.publisher


def streams_of(bus: Bus, settings: ConfigSettings) -> Callable[[str], Stream]:
    """The broker's stream of each log."""

    def stream_of(log_id: str) -> Stream:
        return LogStream(bus, log_id, replicas=settings.nats_replicas, trace=task_trace)

    return stream_of
