"""`sie logs`: the lines of several processes, in order of time."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from sie_cli.local.logs import Following, Wanted, in_words, read_lines, rendered
from sie_cli.main import build


def line(ts: str, msg: str, level: str = "info", **more: str) -> str:
    return json.dumps({"ts": ts, "level": level, "role": "r", "msg": msg, **more}) + "\n"


def folder(tmp_path: Path) -> Path:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "gateway.log").write_text(
        line("2026-01-01T00:00:01.000Z", "one") + line("2026-01-01T00:00:04.000Z", "four", "error")
    )
    (logs / "worker-0.log").write_text(
        line("2026-01-01T00:00:02.000Z", "two", request="abc")
        + "Traceback of two\n"
        + line("2026-01-01T00:00:03.000Z", "three", "warning")
    )
    return logs


def test_lines_of_all_processes_come_in_order_and_a_traceback_stays_in_its_place(tmp_path):
    texts = [rendered(found) for found in read_lines(folder(tmp_path), Wanted())]
    assert [text.split()[-1] for text in texts] == ["one", "request=abc", "two", "three", "four"]


def test_roles_levels_and_texts_choose_lines(tmp_path):
    logs = folder(tmp_path)

    def messages(wanted: Wanted) -> list[str]:
        return [found.fields.get("msg", "-") for found in read_lines(logs, wanted)]

    assert messages(Wanted(roles=("worker",))) == ["two", "-", "three"]
    assert messages(Wanted(roles=("gateway",))) == ["one", "four"]
    assert messages(Wanted(level="warning")) == ["three", "four"]
    assert messages(Wanted(text="abc")) == ["two"]


@given(st.lists(st.lists(st.tuples(st.integers(0, 50), st.booleans())), max_size=4))
def test_no_line_is_lost_and_time_never_goes_back(tmp_path_factory, processes):
    logs = tmp_path_factory.mktemp("logs")
    for number, lines in enumerate(processes):
        texts = [line(f"{ts:03d}", "m") if is_json else "plain [1]\n" for ts, is_json in lines]
        (logs / f"worker-{number}.log").write_text("".join(texts))
    found = list(read_lines(logs, Wanted()))
    assert len(found) == sum(len(lines) for lines in processes)
    assert [each.ts for each in found] == sorted(each.ts for each in found)


def test_lines_from_a_time_on_and_lines_as_they_are_written(tmp_path):
    logs = folder(tmp_path)
    late = Wanted(since="2026-01-01T00:00:02.500Z")
    assert [each.fields["msg"] for each in read_lines(logs, late)] == ["three", "four"]
    following = Following(logs, Wanted(roles=("gateway",)))
    assert following.more() == []
    five = line("2026-01-01T00:00:05.000Z", "five")
    with (logs / "gateway.log").open("a") as file:
        file.write(five + five[:10])
        file.flush()
        assert [each.fields["msg"] for each in following.more()] == ["five"]
        file.write(five[10:])
        file.flush()
        assert [each.fields["msg"] for each in following.more()] == ["five"]
    (logs / "gateway.log").write_text(line("2026-01-01T00:00:06.000Z", "six"))
    (logs / "gateway-1.log").write_text(line("2026-01-01T00:00:07.000Z", "seven"))
    (logs / "worker-0.log").write_text(line("2026-01-01T00:00:08.000Z", "not asked for"))
    assert [each.fields["msg"] for each in following.more()] == ["six", "seven"]


def test_the_command_prints_the_last_lines_and_json_when_asked(tmp_path):
    folder(tmp_path)
    run = CliRunner()
    shown = run.invoke(build(), ["logs", "--data", str(tmp_path), "-n", "1"])
    assert shown.exit_code == 0
    assert shown.stdout.split()[-1] == "four"
    raw = run.invoke(build(), ["logs", "gateway", "--data", str(tmp_path), "-o", "json"])
    assert [json.loads(text)["msg"] for text in raw.stdout.splitlines()] == ["one", "four"]


def test_a_line_of_json_is_told_in_words_and_a_trace_by_its_ends():
    trace = "Traceback:\n  File x\nOSError: no room"
    told = in_words(line("t", "it ended", "error", folder="/data", error=trace))
    assert told == "it ended folder=/data error=Traceback: … OSError: no room"
    assert in_words("Segmentation fault\n") == "Segmentation fault"
    assert in_words("") == ""
