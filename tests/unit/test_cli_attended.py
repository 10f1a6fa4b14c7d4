"""A sie-config that hangs is told within seconds; one that is slow and lives is waited for."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sie_cli.access.config_client import AttendedClient
from sie_cli.config.config_work import Work, run_work
from sie_cli.show.exit_statuses import line_of
from sie_schemas.errors import TimeRanOut
from sie_sdk import Terms

HEAD = {"log_id": "a" * 32, "epoch": 7, "hash": "b" * 64, "digest": "c" * 64, "writer": {}}

WROTE_AT = 1_700_000_000.0
"""Years before the clock of here."""
DROPS = 60
"""Three seconds of them: without a bound of the whole the answer would come in the end."""


class Service(ThreadingHTTPServer):
    """Answers `/healthz` where it lives, and all else once that was asked so many times."""

    daemon_threads = True

    def __init__(self, *, lives: bool, slow: int) -> None:
        self.lives = lives
        self.slow = slow
        self.asked: list[str] = []
        self.moved = threading.Condition()
        self.over = False
        self.drips = False
        super().__init__(("127.0.0.1", 0), Asked)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def others(self) -> list[str]:
        return [path for path in self.asked if path != "/healthz"]

    def is_due(self) -> bool:
        return self.over or (self.lives and self.asked.count("/healthz") >= self.slow)


class Asked(BaseHTTPRequestHandler):
    """One request of a service."""

    server: Service

    def do_GET(self) -> None:
        service = self.server
        with service.moved:
            service.asked.append(self.path)
            service.moved.notify_all()
            if self.path != "/healthz" or not service.lives:
                service.moved.wait_for(service.is_due)
        told = {"timestamp": WROTE_AT} if self.path == "/readyz" else HEAD
        body = json.dumps(told).encode()
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("content-length", str(len(body) + self._drops()))
            self.end_headers()
            self._drip()
            self.wfile.write(body)

    do_POST = do_PUT = do_GET  # noqa: N815

    def _drops(self) -> int:
        return DROPS if self.server.drips else 0

    def _drip(self) -> None:
        """White space before the answer, each piece sooner than a read of the client gives up."""
        for _ in range(self._drops()):
            self.wfile.write(b" ")
            with self.server.moved:
                self.server.moved.wait_for(lambda: self.server.over, timeout=0.05)

    def log_message(self, *_told: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def serving(*, lives: bool, slow: int = 0) -> Iterator[Service]:
    service = Service(lives=lives, slow=slow)
    threading.Thread(target=service.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield service
    finally:
        with service.moved:
            service.over = True
            service.moved.notify_all()
        service.shutdown()
        service.server_close()


REQUESTS: dict[str, tuple[Callable[[AttendedClient], object], bool]] = {
    "a read": (lambda client: client.head(), False),
    "a write": (lambda client: client.put("pool", "p", {"name": "p"}), True),
    "a batch": (lambda client: client.batch([]), True),
    "a trial": (lambda client: client.put("pool", "p", {"name": "p"}, Terms(dry_run=True)), False),
    "a wait": (lambda client: client.wait(epoch=1), False),
}
"""And whether it makes an entry of the log."""


@pytest.mark.parametrize("request_of", REQUESTS)
def test_one_that_hangs_is_told_with_what_to_do_and_is_asked_once(request_of):
    ask, writes = REQUESTS[request_of]
    with serving(lives=False) as service:
        client = AttendedClient(service.url, quiet_s=0.1, alive_s=0.2)
        with pytest.raises(TimeRanOut, match="answers nothing") as told:
            ask(client)
        assert "sie doctor" in line_of(told.value)
        assert ("sie history" in told.value.message) is writes
        # Its thread may come to the request later than the client gives up.
        with service.moved:
            service.moved.wait_for(lambda: bool(service.others()), timeout=60.0)
        assert len(service.others()) == 1


def test_one_that_is_slow_and_lives_is_waited_for_and_asked_once():
    with serving(lives=True, slow=3) as service:
        client = AttendedClient(service.url, quiet_s=0.05, alive_s=60.0)
        assert client.head()["epoch"] == 7
        assert service.asked.count("/v1/configs/epoch") == 1
        assert service.asked.count("/healthz") >= 3


def test_one_that_answers_at_once_is_not_asked_whether_it_lives():
    with serving(lives=True) as service:
        assert AttendedClient(service.url, quiet_s=60.0).head()["epoch"] == 7
        assert "/healthz" not in service.asked


def test_every_command_has_such_a_client():
    kinds: list[type] = []

    def command(work: Work) -> int:
        kinds.append(type(work.client))
        return 0

    assert run_work("http://127.0.0.1:1", "table", command) == 0
    assert kinds == [AttendedClient]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("5m", "2023-11-14T22:08:20.000000Z"),
        ("now", "2023-11-14T22:13:20.000000Z"),
        ("7", "7"),
    ],
)
def test_a_time_ago_is_by_the_clock_that_wrote_the_log(text, meant):
    found: list[str | None] = []

    def command(work: Work) -> int:
        found.append(work.at(text))
        return 0

    with serving(lives=True) as service:
        assert run_work(service.url, "table", command) == 0
        assert ("/readyz" in service.asked) is (text != "7")
    assert found == [meant]


def test_where_no_time_is_told_the_clock_of_here_counts():
    client = AttendedClient("http://127.0.0.1:1")
    before = datetime.now().astimezone()
    assert before <= client.now() <= datetime.now().astimezone()


def test_nor_is_the_clock_of_one_that_hangs_waited_for_twice():
    with serving(lives=False) as service, pytest.raises(TimeRanOut, match="answers nothing"):
        AttendedClient(service.url, alive_s=0.2).now()


def test_all_moments_of_a_command_are_counted_from_one_answer():
    with serving(lives=True) as service:
        client = AttendedClient(service.url)
        assert client.now() == client.now()
        assert service.asked == ["/readyz"]


def test_a_look_is_bounded_as_a_whole_and_not_by_its_pieces():
    with serving(lives=True) as service:
        service.drips = True
        with pytest.raises(TimeRanOut, match="answers nothing"):
            AttendedClient(service.url, alive_s=0.5).now()
