"""A standby of the writer, as `docs/operations/scale.md` tells it: its commands, word for word."""

import asyncio
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from tests.support.config_writer import model
from tests.support.log_tools import run_log
from tests.support.log_world import follower, same, writer
from tests.support.nats import nats_server
from tests.support.polling import until

from sie_config.writer.writer_state import Recovery, Serving

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[2] / "docs/operations/scale.md"
URL = "/v1/configs/models?ack=stream"


async def done(step: str, words: dict[str, str]) -> str:
    """Do the commands of a step of the page; the last of them, which is for the test to do."""
    found = re.search(rf"<!-- standby: {step} -->\n\n```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None, step
    text = re.sub("|".join(words), lambda each: words[each[0]], found[1])
    for line in text.splitlines():
        program, *arguments = shlex.split(line)
        if program == "sie":
            assert arguments[0] == "log"
            status, told = await asyncio.to_thread(run_log, *arguments[1:])
            assert status == 0, told
        elif program in {"cp", "mkdir"}:
            await asyncio.to_thread(subprocess.run, [program, *arguments], check=True)
    return line


async def test_a_standby_has_all_that_the_stream_took_and_the_old_writer_is_fenced(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    async with nats_server(tmp_path / "nats") as url:
        words = {"BACKUP": str(tmp_path / "backup"), "HERE": str(here), "THERE": str(there)}
        words |= {"URL": url}
        async with (
            writer(here, url, port=0) as old,
            follower(url, old.url, tmp_path / "replica") as replica,
        ):
            await old.put("before")
            await done("before", words)
            after = await old.http.post(URL, json=model("after"))
            assert after.json()["published"], "the backup lacks it, and the stream has it"
            start = await done("after", words)
            assert start == f"sie-config --data-dir {there} --nats-url {url}"
            # Nobody ended the old one.
            async with writer(there, url) as new:
                assert new.plane.sequencer.state == Serving(witnessed=True)
                registry = new.plane.sequencer.registry
                assert {each.key for each in registry.of_kind("model")} >= {"before", "after"}
                await until(lambda: isinstance(old.plane.sequencer.state, Recovery))
                refused = await old.http.post(URL, json=model("zombie"))
                assert refused.json()["detail"]["code"] == "LOG_RECOVERY"
                taken = await new.http.post(URL, json=model("taken"))
                assert taken.json()["published"]
                assert taken.json()["log_id"] == after.json()["log_id"], "the same log goes on"
                await same(new, replica)
                assert "taken" in replica.follower.resolver.models
