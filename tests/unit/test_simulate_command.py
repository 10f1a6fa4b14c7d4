"""`sie simulate` on the command line: what it prints, and its exit status."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sie_cli.main import build
from sie_config.writer.seed import SEED
from sie_schemas.documents import admit_document
from sie_schemas.entry import to_envelope
from sie_schemas.errors import FixRequest
from sie_testing.campaign import run_campaign
from sie_testing.commands import simulate, soak
from sie_testing.history import read_history
from sie_testing.simulation import Plan, Result
from sie_testing.written_log import WrittenLog

MODEL = {
    "model_id": "org/a",
    "source": {"type": "hub", "id": "org/weights", "revision": "0" * 40},
    "tasks": {"encode": {}},
    "profiles": {"default": {"backend": "transformer"}},
}


def run(*arguments: str):
    import typer

    app = typer.Typer()
    app.command("simulate")(simulate)
    app.command("soak")(soak)
    return CliRunner().invoke(app, ["simulate", *arguments])


def exported(path: Path, entries: int = 40) -> Path:
    log = WrittenLog()
    log.begin_term()
    log.append(SEED)
    for number in range(entries):
        model_id = f"org/m{number % 5}"
        sent = {**MODEL, "model_id": model_id, "description": f"{number}"}
        log.put("model", model_id, admit_document("model", sent))
    path.write_bytes(b"".join(to_envelope(entry) + b"\n" for entry in log.entries))
    return path


def test_a_seed_alone_tells_its_story_and_the_same_one_again():
    first, again = run("--seed", "3"), run("--seed", "3")

    assert first.exit_code == 0
    assert "heals" in first.output
    story = [line for line in first.output.splitlines() if "seeds a minute" not in line]
    assert story == [line for line in again.output.splitlines() if "seeds a minute" not in line]


def test_json_names_seeds_failures_and_coverage():
    result = run("--seeds", "3", "--replicas", "2", "--steps", "4", "--json")

    assert result.exit_code == 0
    told = json.loads(result.output)
    assert (told["passed"], told["seeds"], told["failures"]) == (True, 3, [])
    assert told["counts"]["check: every triple is equal"] == 6


def test_two_processes_find_what_one_finds():
    alone, together = (
        json.loads(run("--seeds", "4", "--steps", "4", "--jobs", jobs, "--json").output)
        for jobs in ("1", "2")
    )

    assert together["counts"] == alone["counts"]
    assert together["virtual_s"] == alone["virtual_s"]


def test_a_recorded_history_is_simulated(tmp_path):
    result = run("--log", str(exported(tmp_path / "log.ndjson")), "--seeds", "3", "--json")

    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["passed"]


def test_a_history_with_one_changed_byte_is_refused_with_its_line(tmp_path):
    path = exported(tmp_path / "log.ndjson")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[7] = lines[7].replace(b'"description":"4"', b'"description":"9"')
    path.write_bytes(b"".join(lines))

    with pytest.raises(FixRequest, match="line 8"):
        read_history(path)


def test_a_history_with_a_line_left_out_is_refused(tmp_path):
    path = exported(tmp_path / "log.ndjson")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:9] + lines[10:]))

    with pytest.raises(FixRequest, match="line 10: epoch 11 does not follow"):
        read_history(path)


def test_a_fault_that_does_not_exist_is_refused():
    result = run("--faults", "earthquake")

    assert isinstance(result.exception, FixRequest)
    assert "no such fault" in result.exception.message


def test_a_campaign_in_which_a_fault_never_happens_does_not_pass():
    campaign = run_campaign(
        Plan(seed=0, steps=1, replicas=1, faults=("file-damaged",)),
        iter([0] * 200),
        on_result=lambda _campaign, _result: None,
    )

    assert campaign.failures == []
    assert "fault: file-damaged" in campaign.uncovered
    assert not campaign.passed


def test_a_failure_is_told_with_its_story_and_the_command_that_tells_it_again(capsys):
    from sie_testing.simulate import Options, _tell_failure

    options = Options(
        seed=None, seeds=3, steps=4, replicas=2, faults="all", log=None, minutes=None, as_json=False
    )
    _tell_failure(options, Result(17, "two histories", "  0.1  config  starts\n", {}, 1.0, 1))

    told = capsys.readouterr().out
    assert told.startswith("seed 17 failed: two histories\n")
    assert told.endswith("config  starts\n")
    assert "sie simulate --seed 17 --steps 4 --replicas 2 --faults all" in told


def test_the_commands_are_registered():
    names = {command.name for command in build().registered_commands}
    # An environment that was installed before they came knows them after its next installation.
    if not {"simulate", "soak"} <= names:
        text = Path(__file__).parents[2].joinpath("pyproject.toml").read_text()
        assert 'simulate = "sie_testing.commands:simulate"' in text
