"""The GitOps example as a runner would run it: the steps of its workflow on a real sie-config."""

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import yaml
from tests.support.config_process import config_process
from tests.support.log_world import free_port

from sie_runtime.access.access import Grant, Role, Tokens, hash_of
from sie_schemas.fleet import ReplicaReport

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "gitops"
TOKENS: dict[str, tuple[Role, ...]] = {
    "merger": ("admin",),
    "reviewer": ("read", "propose"),
    "gateway": ("read", "report"),
}

GH = """#!/bin/bash
set -eu
test "$1 $2" = "pr comment" && test "$4" = --body-file && test -n "$GH_TOKEN"
{{ echo "$3 of $GH_REPO ${{@:6}}"; cat "$5"; }} > {comment}
"""
"""A stand-in for GitHub's command, which needs GitHub: it keeps the comment that it was given."""


def token_of(name: str) -> str:
    return f"token-of-{name}-which-is-long-enough"


@dataclass(frozen=True)
class Done:
    """The end of a run of the workflow."""

    status: int
    output: str
    summary: str


class Runner:
    """A runner with a checkout of the example, as GitHub documents what one does."""

    def __init__(self, folder: Path, url: str) -> None:
        self.workflow: dict[Any, Any] = yaml.safe_load((EXAMPLE / "workflow.yaml").read_text())
        self.checkout = folder / "checkout"
        shutil.copytree(EXAMPLE, self.checkout)
        self._values = {
            "vars.SIE_CONFIG_URL": url,
            "secrets.SIE_CONFIG_TOKEN_PROPOSE": token_of("reviewer"),
            "secrets.SIE_CONFIG_TOKEN_ADMIN": token_of("merger"),
            "github.actor": "ann",
            "github.repository": "ann/cluster",
            "github.token": "a token of this run",
            "github.event.pull_request.number": "7",
        }
        self.comment = folder / "comment"
        tools = folder / "tools"
        tools.mkdir()
        (tools / "gh").write_text(GH.format(comment=self.comment))
        (tools / "gh").chmod(0o755)

    async def run(self, event: str) -> Done:
        """Run the one job that an event starts, up to the first step that fails."""
        jobs = self.workflow["jobs"].values()
        (job,) = [each for each in jobs if each["if"] == f"github.event_name == '{event}'"]
        summary = self.checkout.parent / "summary.md"
        summary.write_text("")
        # A runner sets these; nothing of ours leaks in, but where the programs are.
        environ = {
            "PATH": f"{self.comment.parent}/tools:{Path(sys.executable).parent}:"
            f"{os.environ['PATH']}",
            "HOME": str(self.checkout.parent),
            "GITHUB_SHA": "0123abc",
            "GITHUB_STEP_SUMMARY": str(summary),
        }
        for given in (self.workflow["env"], job.get("env", {})):
            environ |= {name: self._filled(text) for name, text in given.items()}
        output = ""
        for step in job["steps"]:
            # Actions, and the package that is here already, are not of the example's making.
            if "run" not in step or step["run"].startswith("pip install "):
                continue
            own = {name: self._filled(text) for name, text in step.get("env", {}).items()}
            status, told = await self._bash(step, environ | own)
            output += told
            if status:
                return Done(status, output, summary.read_text())
        return Done(0, output, summary.read_text())

    def _filled(self, text: str) -> str:
        return re.sub(r"\$\{\{ *(.+?) *\}\}", lambda found: self._values[found[1]], text)

    async def _bash(self, step: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[int, str]:
        assert "${{" not in step["run"], "an expression in a script is how code is injected"
        strict = ["--noprofile", "--norc", "-eo", "pipefail"]
        flags = strict if step.get("shell") == "bash" else ["-e"]
        process = await asyncio.create_subprocess_exec(
            *("bash", *flags, "-c", step["run"]),
            cwd=self.checkout,
            env=dict(environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return process.returncode, told.decode()

    def edit(self, name: str, old: str, new: str) -> None:
        """Commit a change of a file."""
        file = self.checkout / "cluster" / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))


@contextlib.asynccontextmanager
async def following(url: str) -> AsyncIterator[None]:
    """A gateway that follows: it says that it holds whatever the head is."""

    async def follow() -> None:
        headers = {"Authorization": f"Bearer {token_of('gateway')}"}
        after = 0
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
            while True:
                params = {"after": after, "wait": 5}
                head = (await client.get("/v1/configs/epoch", params=params)).json()
                after = head["epoch"]
                told = {name: head[name] for name in ("log_id", "epoch", "hash", "digest")}
                report = ReplicaReport(
                    role="gateway", id="g1", received=after, state="fresh", **told
                )
                body = msgspec.json.encode(report)
                answer = await client.post(
                    "/v1/configs/replicas",
                    content=body,
                    headers={"content-type": "application/json"},
                )
                assert answer.is_success, answer.text

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def drifts(runner: Runner, client: httpx.AsyncClient) -> None:
    """Somebody changes the cluster by hand: the morning's job says who, a merge mends it."""
    calm = await runner.run("schedule")
    assert calm.status == 0, calm.output
    by_hand = await client.patch(
        "/v1/configs/models/sentence-transformers/all-MiniLM-L6-v2",
        content=b'{"description": "by hand"}',
        headers={"content-type": "application/merge-patch+json", "x-sie-reason": "at night"},
    )
    assert by_hand.status_code == 200, by_hand.text
    drifted = await runner.run("schedule")
    assert drifted.status == 1, drifted.output
    assert "by hand" in drifted.summary
    assert "at night" in drifted.output, "who changed it, and why"
    assert (await runner.run("push")).status == 0, "the repository prevails"


@pytest.mark.integration
async def test_a_pull_request_shows_what_a_merge_then_does_in_one_entry(tmp_path):  # noqa: PLR0915 - one story
    tokens = tmp_path / "tokens.json"
    grants = tuple(
        Grant(
            name=name,
            sha256=hash_of(token_of(name).encode()),
            roles=roles,
            replica="gateway/g1" if "report" in roles else "",
        )
        for name, roles in TOKENS.items()
    )
    tokens.write_bytes(msgspec.json.encode(Tokens(tokens=grants)))
    no_broker = f"nats://127.0.0.1:{free_port()}"
    started = config_process(tmp_path / "config", no_broker, "--auth-file", str(tokens))
    async with started as (_, client), following(str(client.base_url)):
        client.headers["Authorization"] = f"Bearer {token_of('merger')}"
        runner = Runner(tmp_path, str(client.base_url))

        async def head() -> int:
            return int((await client.get("/v1/configs/epoch")).json()["epoch"])

        before = await head()
        shown = await runner.run("pull_request")
        assert shown.status == 0, shown.output
        change = "+ model sentence-transformers/all-MiniLM-L6-v2"
        assert change in shown.output.splitlines()
        assert shown.summary == f"```diff\n{shown.output}```\n"
        comment = runner.comment.read_text()
        assert comment.startswith("7 of ann/cluster --edit-last --create-if-none\n")
        assert f"```diff\n{shown.output}```\n" in comment
        assert await head() == before, "a pull request writes nothing"

        merged = await runner.run("push")
        assert merged.status == 0, merged.output
        assert "1 of 1 replica converged" in merged.output
        assert await head() == before + 1, "one entry, though it changes a model and a pool"
        entry = (await client.get(f"/v1/configs/entries/{before + 1}")).json()["body"]
        assert (entry["actor"], entry["reason"]) == ("merger", "commit 0123abc")
        assert {each["kind"] for each in entry["changes"]} == {"model.put", "pool.put"}

        assert (await runner.run("pull_request")).output == ""
        assert "would change nothing" in runner.comment.read_text()
        again = await runner.run("push")
        assert (again.status, await head()) == (0, before + 1), again.output
        assert f"nothing differs at epoch {before + 1}" in again.output

        await drifts(runner, client)
        before += 2

        runner.edit("models.yaml", "backend: transformer", "backend: none")
        refused = await runner.run("pull_request")
        assert refused.status != 0, "a document that is refused fails the run"
        assert "none" in refused.output

        # Who may only propose sees the difference, and cannot write it.
        runner.edit("models.yaml", "backend: none", "backend: transformer")
        runner.edit("models.yaml", "[minilm]", "[minilm, mini]")
        runner._values["secrets.SIE_CONFIG_TOKEN_ADMIN"] = token_of("reviewer")
        assert "aliases" in (await runner.run("pull_request")).output
        assert (await runner.run("push")).status != 0
        assert await head() == before + 1
