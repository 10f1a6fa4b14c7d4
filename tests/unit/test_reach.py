"""The words of a process on a service that it does not reach: once, and only of what lasts."""

import contextlib
import itertools
import logging
import ssl
from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_gateway.settings import GatewaySettings
from sie_runtime.reach import Reach, why_unreached
from sie_runtime.settings import SettingsError, parse

LASTS_S = 2.0
"""As long as a person looks on who has just started a process with a wrong address."""
AGAIN_S = 10.0
STEPS = st.lists(
    st.tuples(st.floats(0, 5, allow_nan=False), st.sampled_from(["", "nobody", "no host"]))
)


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """The lines of the log, each as it is told."""
    lines: list[str] = []
    log, handler = logging.getLogger("sie_runtime.reach"), logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


@given(STEPS)
def test_what_lasts_is_told_once_for_each_reason_and_its_end_is_told_where_it_was(steps):
    """A model of the promise: a reason that nobody answers to between is told at most once in ten
    seconds, never before two, and nothing is told of what never lasted."""
    clock = SimpleNamespace(now=0.0)
    reach = Reach("the broker", "nats_url", clock=lambda: clock.now)
    since: float | None = None
    told: list[tuple[float, str]] = []
    with logged() as lines:
        for passed, why in steps:
            clock.now += passed
            lines.clear()
            if not why:
                reach.answered()
                assert len(lines) == bool(told), "its end is told where it was told"
                since, told = None, []
                assert not reach.why_not
                continue
            since = clock.now if since is None else since
            reach.failed(why)
            lasts = clock.now - since >= LASTS_S
            assert reach.why_not == (why if lasts else "")
            assert [each.evidence for each in reach.troubles()] == ([why] if lasts else [])
            news = not told or (told[-1][1] != why and clock.now - told[-1][0] >= AGAIN_S)
            assert len(lines) == (lasts and news)
            if lines:
                told.append((clock.now, why))
                assert why in lines[0]
                assert "nats_url" in lines[0]


def test_a_refusal_is_told_at_once():
    reach = Reach("the broker", "nats_url", clock=lambda: 0.0)
    with logged() as lines:
        reach.failed("Authorization Violation", is_refusal=True)
        reach.failed("Authorization Violation", is_refusal=True)
    assert len(lines) == 1
    assert reach.why_not == "Authorization Violation"


def test_the_end_of_a_refusal_is_told_and_the_next_failure_waits_as_the_first_did():
    clock = SimpleNamespace(now=0.0)
    reach = Reach("the broker", "nats_url", clock=lambda: clock.now)
    reach.failed("Authorization Violation", is_refusal=True)
    with logged() as lines:
        reach.answered()
        reach.answered()
    assert lines == ["the broker is reached"]
    reach.failed("nobody")
    assert not reach.why_not
    clock.now = LASTS_S
    with logged() as lines:
        reach.failed("nobody")
    assert len(lines) == 1


def caused(*errors: BaseException) -> BaseException:
    """The last of them, each the cause of the next."""
    for inner, outer in itertools.pairwise(errors):
        outer.__cause__ = inner
    return errors[-1]


def in_handling(inner: BaseException, outer: BaseException) -> BaseException:
    """The outer of them, raised while the inner was handled."""
    outer.__context__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "refused"), "nobody listens at http://h:1"),
        (
            caused(
                ConnectionRefusedError(111, "r"),
                OSError("All attempts failed"),
                httpx.ConnectError("x"),
            ),
            "nobody listens at http://h:1",
        ),
        (
            caused(
                ExceptionGroup("all", [ConnectionRefusedError(), ConnectionRefusedError()]),
                httpx.ConnectError("All connection attempts failed"),
            ),
            "nobody listens at http://h:1",
        ),
        (in_handling(ConnectionRefusedError(), httpx.ConnectError("x")), "nobody listens at"),
        (caused(TimeoutError(), httpx.ConnectTimeout("")), "http://h:1: no answer in time"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] x"), "it speaks no TLS"),
        (httpx.ReadError("cut off"), "http://h:1: cut off"),
        (httpx.ReadError(""), "http://h:1: ReadError"),
    ],
)
def test_each_cause_has_its_words_however_deep_it_lies(error, words):
    assert words in why_unreached(error, "http://h:1")


def test_no_password_of_an_address_is_repeated():
    assert "s3cret" not in why_unreached(ConnectionRefusedError(), "nats://ann:s3cret@h:4222")


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("config_url", "127.0.0.1:8081"),
        ("config_url", "sie-config"),
        ("config_url", "nats://h:4222"),
        ("config_url", "http//h:1"),
        ("config_url", "http://h:99999"),
        ("config_url", "http://:8081"),
        ("nats_url", "http://h:4222"),
        ("nats_url", "nats://h:4222,http://h:4222"),
        ("nats_url", "nats://ann:s3cret@h:port"),
    ],
)
def test_an_address_that_no_client_can_connect_to_is_refused_at_start(setting, text):
    flag = f"--{setting.replace('_', '-')}"
    with pytest.raises(SettingsError, match=rf"{flag}.* is no address as") as caught:
        parse(GatewaySettings, prefix="SIE_GATEWAY", argv=[flag, text], environ={})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["h:4222", "nats://a:4222, nats://b:4222", "tls://u:p@h", "h"])
def test_every_address_that_the_client_of_the_broker_takes_is_taken(text):
    parsed = parse(GatewaySettings, prefix="X", argv=["--nats-url", text], environ={})
    assert parsed.nats_url == text
