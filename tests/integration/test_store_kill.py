"""A real writing process, killed without a warning: every acknowledged entry is there."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from sie_config.log.log_file import LogFile
from sie_config.log.replay import replay
from sie_config.log.storage_faults import StoreLocked

ROOT = Path(__file__).parents[2]

WRITER = """
import sys
from pathlib import Path
from sie_config.log.log_file import LogFile
from tests.support.config_writer import begun_log, put_model, sign, write

file = LogFile.open(Path(sys.argv[1]))
draft = begun_log()
file.append(draft.entries)
print(draft.entries[-1].epoch, draft.entries[-1].hash, flush=True)
number = 0
while True:
    draft.entries.clear()
    for _ in range(1 + number % 3):
        number += 1
        draft.write(write(put_model(f"org/model-{number}")))
    file.append(sign(draft))
    print(draft.entries[-1].epoch, draft.entries[-1].hash, flush=True)
"""


def start_writer(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


@pytest.mark.integration
@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_a_killed_writer_loses_no_acknowledged_entry_and_its_file_reopens(tmp_path, acknowledged):
    path = tmp_path / "log.sqlite"
    writer = start_writer(path)
    assert writer.stdout is not None
    seen = [writer.stdout.readline().split() for _ in range(acknowledged)]
    with pytest.raises(StoreLocked):
        LogFile.open(path)
    writer.kill()
    seen += [line.split() for line in writer.stdout]
    writer.stdout.close()
    writer.wait()

    wal = path.with_name(path.name + "-wal")
    assert wal.stat().st_size > 0
    file = LogFile.open(path)
    assert wal.stat().st_size == 0, "the tail was read before it was written back"
    entries = {entry.epoch: entry.hash for entry in file.verified()}
    assert all(entries[int(epoch)] == hash_ for epoch, hash_ in seen if len(hash_) == 64)
    assert replay(file.verified()).damage is None
    file.close()


LIMITED = """
import resource, sys
from pathlib import Path
from sie_config.log.log_file import LogFile
from sie_config.log.storage_faults import StorageFailed
from tests.support.config_writer import grown_log

entries = grown_log(60)
file = LogFile.open(Path(sys.argv[1]))
file.append(entries[:3])
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
outcomes = []
for start in range(3, 63, 10):
    try:
        file.append(entries[start:start + 10])
        outcomes.append("ok")
    except StorageFailed as error:
        outcomes.append(error.code)
print(*outcomes, flush=True)
import os
os._exit(0)
"""


@pytest.mark.integration
async def test_after_an_io_error_nothing_is_written_until_a_fresh_process_opens_the_file(tmp_path):
    path = tmp_path / "log.sqlite"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LIMITED, str(path), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert child.stdout is not None
    outcomes = (await child.stdout.read()).decode().split()
    await child.wait()
    assert outcomes[0] == "ok"
    failed = outcomes.index("STORAGE_FAILED")
    assert set(outcomes[failed:]) == {"STORAGE_FAILED"}
    file = LogFile.open(path)
    replayed = replay(file.verified())
    assert replayed.damage is None
    assert replayed.last is not None
    assert replayed.last.epoch >= 3 + 10 * failed
    file.close()
