"""Parts of other people's libraries that are used inside: they are there, in one minor."""

import asyncio
import inspect
import re
import tomllib
from pathlib import Path

import pytest
from huggingface_hub import file_download
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from uvicorn.server import Server

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())


@pytest.mark.parametrize(
    ("library", "extra"),
    [("uvicorn", "runtime"), ("nats-py", "runtime"), ("huggingface-hub", "server")],
)
def test_a_library_that_is_used_inside_is_pinned_to_one_minor(library, extra):
    wanted = PYPROJECT["project"]["optional-dependencies"][extra]
    [pin] = [each for each in wanted if each.startswith(f"{library}>=")]
    found = re.fullmatch(rf"{library}>=0?(\d*)\.?(\d+)(?:\.\d+)?,<0?(\d*)\.?(\d+)", pin)

    assert found is not None, pin
    assert (found[1], int(found[2]) + 1) == (found[3], int(found[4])), pin


@pytest.mark.parametrize("name", ["_start_asgi_task", "on_headers_complete", "data_received"])
def test_uvicorns_protocol_has_what_is_overridden(name):
    assert callable(getattr(HttpToolsProtocol, name))


def test_an_exchange_of_uvicorns_has_what_is_used_at_once():
    source = inspect.getsource(RequestResponseCycle)
    used = (
        "response_started",
        "response_complete",
        "waiting_for_100_continue",
        "message_event",
        "on_response",
        "keep_alive",
        "disconnected",
        "transport",
        "flow",
        "body",
        "more_body",
    )

    assert [name for name in used if f"self.{name}" not in source] == []
    assert "self.write_paused" in inspect.getsource(FlowControl)
    assert STATUS_LINE[200].startswith(b"HTTP/1.1 200")
    assert HIGH_WATER_LIMIT > 0
    assert issubclass(WSProtocol, asyncio.Protocol)


@pytest.mark.parametrize("name", ["_read_loop", "_remove_sub"])
def test_the_brokers_client_has_what_is_overridden(name):
    assert callable(getattr(Client, name))


def test_the_brokers_client_holds_what_is_sent_and_read_as_it_is_used():
    source = inspect.getsource(Client)

    used = ("_status", "_pending", "_pending_data_size", "_transport", "_ps", "_error_cb")
    assert [name for name in used if f"self.{name}" not in source] == []
    assert "_io_reader" in inspect.getsource(TcpTransport)
    assert "self._buffer" in inspect.getsource(asyncio.StreamReader)


def test_a_server_of_uvicorns_has_the_loop_that_is_replaced():
    source = inspect.getsource(Server)
    assert "await self.main_loop()" in source
    assert "await self.on_tick(counter)" in inspect.getsource(Server.main_loop)
    # The duties of the loop besides waiting: a new one would have to be taken over.
    duties = set(re.findall(r"self\.config\.(\w+)", inspect.getsource(Server.on_tick)))
    assert duties == {"date_header", "encoded_headers", "callback_notify", "timeout_notify"}


def test_the_hubs_library_asks_for_each_name_where_it_is_looked_at():
    """Past these two, nothing that a hub says becomes a part of a path in its cache."""
    source = inspect.getsource(file_download._hf_hub_download_to_cache_dir)
    assert source.count("_get_metadata_or_catch_error(") == 2
    assert "= get_hf_file_metadata(" in inspect.getsource(
        file_download._get_metadata_or_catch_error
    )
