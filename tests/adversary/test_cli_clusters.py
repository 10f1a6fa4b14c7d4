"""Commands without a cluster, with the wrong one, and with what is left of one."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.config_writer import put_model, running
from tests.support.log_world import free_port
from tests.support.served import served_config, served_gateway
from typer.testing import CliRunner, Result

from sie_cli.access import state
from sie_cli.access.state import ClusterState, ProcessRecord, record_process
from sie_cli.main import build
from sie_config.offline.compaction import compact
from sie_schemas.errors import FixRequest, Later

COMMAND = build()
COMMANDS = {
    "apply": ("apply", "-f", "{file}"),
    "apply --prune": ("apply", "-f", "{file}", "--prune"),
    "audit": ("audit",),
    "blame": ("blame", "model", "m"),
    "delete": ("delete", "model", "m"),
    "describe": ("describe", "model", "m"),
    "diff": ("diff", "1"),
    "diff -f": ("diff", "-f", "{file}"),
    "edit": ("edit", "model", "m"),
    "export": ("export",),
    "get": ("get", "model"),
    "get one": ("get", "model", "m"),
    "get bundles": ("get", "bundles"),
    "history": ("history",),
    "history of one": ("history", "model", "m"),
    "import": ("import", "{file}"),
    "replica forget": ("replica", "forget", "gateway", "g"),
    "replica resync": ("replica", "resync", "gateway", "g"),
    "replicas": ("replicas",),
    "revert": ("revert", "1"),
    "show": ("show", "1"),
    "verify": ("verify",),
    "wait": ("wait", "--timeout", "1"),
    "watch": ("watch", "--count", "1"),
}
"""Every command that speaks to sie-config."""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder without a cluster, with no address in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    for name in [name for name in os.environ if name.startswith("SIE_")]:
        monkeypatch.delenv(name)
    Path("pool.yaml").write_text("{kind: pool, name: p}")


def sie(command: tuple[str, ...], *options: str) -> Result:
    told = [each.replace("{file}", "pool.yaml") for each in command]
    result = CliRunner().invoke(COMMAND, [*told, *options])
    wrong = result.exception
    assert wrong is None or isinstance(wrong, SystemExit | FixRequest), (command, wrong)
    return result


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Somebody who gives every connection the same bytes; what was asked is kept."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        stopped = threading.Event()

        def serve() -> None:
            while not stopped.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    asked.append(connection.recv(65536))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        finally:
            stopped.set()
            # Wakes the one that waits in accept().
            with contextlib.suppress(OSError):
                socket.create_connection(server.getsockname()).close()
            thread.join()


def http(body: bytes, kind: bytes = b"application/json", status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    return head % (status, kind, len(body)) + body


def gone() -> ProcessRecord:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return ProcessRecord(role="config", pid=process.pid, started="1", log="")


def leave_record(
    folder: Path, url: str, *processes: ProcessRecord, supervisor: ProcessRecord
) -> None:
    folder.mkdir(exist_ok=True)
    told = ClusterState(
        supervisor=supervisor,
        ready=True,
        gateway_url=url,
        config_url=url,
        nats_url="nats://127.0.0.1:1",
        processes=processes,
    )
    state.save(folder, told)


def me(role: str) -> ProcessRecord:
    return record_process(role, os.getpid(), Path("log"))


@pytest.mark.parametrize("command", COMMANDS)
def test_no_cluster_named_is_no_command_run(command):
    refused = sie(COMMANDS[command])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("sie: no cluster is named, and none runs in ")
    assert (
        "--url URL, --context NAME or SIE_CONFIG_URL" in refused.stderr
        and "--data" in refused.stderr
    )
    assert len(refused.stderr.splitlines()) == 1


def test_what_is_left_of_a_cluster_names_none_and_nobody_at_its_address_is_asked():
    with answering(http(b"{}")) as (url, asked):
        leave_record(Path(".sie"), url, gone(), supervisor=gone())
        refused = sie(COMMANDS["delete"])
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "does not run any more: start it with `sie up`" in refused.stderr
        status = sie(("status", "-o", "json"))
        assert status.exit_code == 3
        assert "sie-config does not run" in status.stdout
        leave_record(Path(".sie"), url, gone(), supervisor=me("supervisor"))
        later = sie(COMMANDS["delete"])
        assert (later.exit_code, later.stdout) == (3, "")
        assert "config of the cluster in" in later.stderr
        assert "does not run yet" in later.stderr
        assert asked == []
    Path(".sie/operator.json").write_text("{}")
    with pytest.raises(Later, match="nats of the cluster in"):
        CliRunner().invoke(COMMAND, ["dlq", "ls"], catch_exceptions=False)


def test_a_cluster_is_named_by_flag_folder_or_variable_and_the_flag_comes_first(
    tmp_path, monkeypatch
):
    with served_config(tmp_path / "config") as url:
        leave_record(tmp_path / ".sie", url, me("config"), supervisor=me("supervisor"))
        leave_record(tmp_path / "other", url, me("config"), supervisor=me("supervisor"))
        nowhere = f"http://127.0.0.1:{free_port()}"
        pools = ("get", "pools", "-o", "name")
        assert sie(pools).stdout == "pool/default\n", "that of this folder"
        monkeypatch.setenv("SIE_CONFIG_URL", nowhere)
        assert sie(pools).exit_code == 3, "that of the environment"
        assert sie(pools, "--data", "other").stdout == "pool/default\n"
        assert sie(pools, "--url", url).stdout == "pool/default\n"
        both = sie(pools, "--url", url, "--data", "other")
        assert (both.exit_code, "not both" in both.stderr) == (2, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_record_of_another_user_is_not_believed():
    with answering(http(b"{}")) as (url, asked):
        leave_record(Path(".sie"), url, me("config"), supervisor=me("supervisor"))
        os.chown(".sie/cluster.json", 12345, 12345)
        refused = sie(COMMANDS["get"])
        assert refused.exit_code == 2
        assert "belongs to another user (uid 12345)" in refused.stderr
        assert asked == []
    for command in (("status",), ("down",)):
        with pytest.raises(FixRequest, match="another user"):
            CliRunner().invoke(COMMAND, list(command), catch_exceptions=False)


STRANGERS = {
    "a web page": http(b"<html>hello</html>", b"text/html"),
    "a web page that is not there": http(b"<html>no</html>", b"text/html", b"404 Not Found"),
    "an empty mapping": http(b"{}"),
    "a list": http(b"[]"),
    "a text": http(b'"ok"'),
    "another place": b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n",
    "not HTTP": b"220 mail.example.org ESMTP\r\n",
    "nothing": b"",
    "half an answer": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
}

ASKED_ONCE = "an empty mapping"


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_at_the_address_is_named_and_never_a_traceback(stranger):
    with answering(STRANGERS[stranger]) as (url, _):
        # A lost answer is asked for again, for some seconds: one command tells for all.
        chosen = list(COMMANDS.values()) if stranger == ASKED_ONCE else [COMMANDS["get"]]
        for command in chosen:
            refused = sie(command, "--url", url)
            assert refused.exit_code in {2, 3}, (command, refused.output)
            assert url in refused.stderr, (command, refused.stderr)
            assert "sie-config" in refused.stderr or "cannot be reached" in refused.stderr


def test_a_gateway_at_the_address_is_called_one():
    with served_gateway() as url:
        for name in (
            "apply",
            "apply --prune",
            "blame",
            "delete",
            "get one",
            "history",
            "replicas",
            "watch",
        ):
            refused = sie(COMMANDS[name], "--url", url)
            assert refused.exit_code == 2, (name, refused.output)
            assert "gateway" in refused.stderr, (name, refused.stderr)


@pytest.mark.parametrize("url", ["127.0.0.1:1", "http://", "http://h:99999", "http://[::1", "x"])
def test_what_is_no_address_is_said_to_be_none(url):
    refused = sie(COMMANDS["get"], "--url", url)
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1), refused.stderr
    assert "mend --url" in refused.stderr


def test_nobody_at_the_address_is_told():
    url = f"http://127.0.0.1:{free_port()}"
    unreachable = sie(COMMANDS["apply"], "--url", url)
    assert (unreachable.exit_code, unreachable.stdout) == (3, "")
    assert url in unreachable.stderr


async def test_a_log_is_compacted_by_its_own_writer_and_by_no_other(tmp_path):
    """Another cluster's writer at the address would move a mark for good."""
    with served_config(tmp_path / "theirs") as theirs:
        async with running(tmp_path / "ours") as plane:
            await plane.write(_a_write())
            log = tmp_path / "ours/log.sqlite"
            with pytest.raises(FixRequest, match=r"writes log .*, and .* is of log"):
                await asyncio.to_thread(compact, log, theirs, keep=1, low_water=None)
            with pytest.raises(FixRequest, match=r"a writer has .* open: give its address"):
                await asyncio.to_thread(compact, log, "", keep=1, low_water=None)


def _a_write():
    from sie_config.writer.draft import Write

    return Write("ci", "", "r", (put_model("m"),), None)
