"""Laws of the log file when the power goes: what was acknowledged is there, and it takes writes.

The disk loses, keeps, tears or reorders everything that was not synced. `HYPOTHESIS_PROFILE=long`
looks at a hundred times as many images.
"""

import itertools
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.adversary.disk.crash_images import Loss, Wrote
from tests.support.written_disk import (
    ENTRIES,
    WrittenDisk,
    key_of,
    put_down,
    read_back,
    scratch_folder,
    write_log,
)

from sie_config.log.storage_faults import LogDamaged
from sie_config.log.witnesses import Behind, Claim, Confirmed, judge
from sie_core.chain import position_of
from sie_schemas.errors import SIEError

GROUPS = st.lists(st.integers(1, 4), min_size=4, max_size=9)
HISTORIES = max(3, settings().max_examples // 30)
LYING = max(50, settings().max_examples)
PHASES = [Phase.explicit, Phase.generate]
"""An image is costly and a cut says it all: nothing is shrunk."""
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def check_nothing_is_lost(written: WrittenDisk, cut: int, image: dict[str, bytes], at: Path) -> int:
    """Open an image as a writer does; gives the epoch that it ends at."""
    file, replayed, entries = read_back(put_down(at, image))
    try:
        assert replayed.damage is None
        assert entries == ENTRIES[: len(entries)]
        assert len(entries) >= written.promised(cut), "an acknowledged entry is gone"
        for entry in entries:
            assert file.key_row("ci", f"key-{entry.epoch}") == key_of(entry)
        assert file.key_row("ci", f"key-{len(entries) + 1}") is None
        # A head file names an entry that was acknowledged: it never accuses a file that is whole.
        if written.promised(cut):
            promised = position_of(ENTRIES[written.promised(cut) - 1])
            own = Claim("the head file", promised.log_id, promised.epoch, promised.hash)
            hashes = {entry.epoch: entry.hash for entry in entries}
            verdict = judge(position_of(entries[-1]), hashes.get, [], own)
            assert verdict == Confirmed(witnessed=False)
        file.append(ENTRIES[len(entries) : len(entries) + 2])
        assert len(list(file.verified())) == len(entries) + 2
    finally:
        file.close()
    return len(entries)


@given(GROUPS, st.sets(st.integers(1, 8), max_size=2), st.integers(0, 2**32))
@settings(max_examples=HISTORIES, phases=PHASES, suppress_health_check=SLOW)
def test_after_a_power_cut_at_any_moment_every_acknowledged_entry_is_there_and_more_can_be_written(
    groups, restarts, seed
):
    random = Random(seed)
    with scratch_folder() as at:
        written = write_log(at, groups, restarts=sorted(restarts))
        ends = set()
        for cut in range(len(written.operations) + 1):
            loss = list(Loss)[cut % len(Loss)]
            image = written.image(cut, loss, random)
            ends.add(check_nothing_is_lost(written, cut, image, at / "image"))
        assert len(ends) > len(groups) // 2, "the images were all of one moment"


def test_each_way_to_lose_writes_makes_images_of_its_own(tmp_path):
    written = write_log(tmp_path, [3, 1, 2, 1, 4])
    seen: dict[Loss, set[bytes]] = {}
    for loss in Loss:
        images = (
            written.image(cut, loss, Random(cut)) for cut in range(0, len(written.operations), 3)
        )
        seen[loss] = {repr(sorted(image.items())).encode() for image in images}
    for one, other in itertools.combinations(Loss, 2):
        assert seen[one] != seen[other], (one, other)
    assert seen[Loss.TORN] - seen[Loss.SOME] - seen[Loss.TAIL]


@given(GROUPS, st.data())
@settings(max_examples=LYING, phases=PHASES, suppress_health_check=SLOW)
def test_what_a_lying_disk_lost_is_damage_that_is_named_or_a_loss_that_the_head_file_names(
    groups, data
):
    """Media damage: a promise that the disk broke can be lost, and can never be papered over."""
    with scratch_folder() as at:
        written = write_log(at, groups)
        cut = data.draw(st.integers(1, len(written.operations)), label="cut")
        lies_after = data.draw(st.integers(0, cut), label="lies after")
        loss = data.draw(st.sampled_from(Loss), label="loss")
        random = data.draw(st.randoms(use_true_random=False))
        image = written.image(cut, loss, random, lies_after=lies_after)
        check_loss_is_said(written.promised(cut), put_down(at / "image", image))


def check_loss_is_said(promised: int, path: Path) -> str:
    """Check that everything is there, damage is named, or the head file shows what is missing."""
    try:
        file, replayed, entries = read_back(path)
    except SIEError as error:
        assert error.code in {"LOG_RECOVERY", "STORAGE_FAILED"}
        return "refused"
    file.close()
    # A signature has a row of its own, and can be lost without its entry: the next one covers it.
    served = [(entry.hash, entry.body) for entry in entries]
    written = [(entry.hash, entry.body) for entry in ENTRIES[: len(entries)]]
    assert served == written, "something else is served than was written"
    if replayed.damage is not None:
        assert isinstance(replayed.damage, LogDamaged)
        # What the fold found bad it found after it had verified the entry itself.
        assert replayed.damage.first_bad_epoch in {len(entries), len(entries) + 1}
        return "damaged"
    if len(entries) >= promised:
        return "whole"
    if entries:
        own = position_of(ENTRIES[promised - 1])
        claim = Claim("the head file", own.log_id, own.epoch, own.hash)
        verdict = judge(position_of(entries[-1]), lambda _: None, [], claim)
        assert verdict == Behind(claim)
    return "behind"


@pytest.mark.parametrize("victim", ["log.sqlite", "log.sqlite-wal"])
def test_a_flipped_bit_is_harmless_or_named_or_shown_by_the_head_file(tmp_path, victim):
    checkpoint = 12 if victim == "log.sqlite" else 10_000
    groups = [3, 2, 4, 1, 3, 2, 5, 1, 2]
    written = write_log(tmp_path, groups, pages_until_checkpoint=checkpoint)
    image = written.image(len(written.operations), Loss.NONE, Random(0))
    promised = written.promised(len(written.operations))
    random = Random(8)
    outcomes = []
    for _ in range(max(100, settings().max_examples)):
        content = bytearray(image[victim])
        at = random.randrange(len(content))
        content[at] ^= 1 << random.randrange(8)
        damaged = image | {victim: bytes(content)}
        outcomes.append(check_loss_is_said(promised, put_down(tmp_path / "image", damaged)))
    # Each answer must be seen, or this shows nothing.
    assert {"whole", "behind" if victim.endswith("-wal") else "damaged"} <= set(outcomes), outcomes


def test_a_recorded_life_of_the_file_has_checkpoints_in_it(tmp_path):
    written = write_log(tmp_path, [2] * 12, restarts=[6])
    files = {operation.file for operation in written.operations if isinstance(operation, Wrote)}
    assert files == {"log.sqlite", "log.sqlite-wal", "log.sqlite-journal"}
    folded = [
        number
        for number, operation in enumerate(written.operations)
        if isinstance(operation, Wrote) and operation.file == "log.sqlite"
    ]
    assert len(folded) > 20
    assert folded[-1] > len(written.operations) // 2
