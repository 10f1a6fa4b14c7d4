"""Mutants of what sie-config looks after: its checks, its disk, its key.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["CONFIG_UPKEEP_MUTANTS"]

CONFIG_UPKEEP_MUTANTS = (
    edit(
        "a-log-that-moved-on-is-not-compared",
        "on a busy log no snapshot is ever compared, and each is called sound",
        "control_plane/sie_config/upkeep/self_check.py",
        "        if not await self._fold(export.epoch, stop):\n            return False\n",
        "",
        (
            "tests/unit/test_config_self_check.py::test_a_log_that_moves_on_is_compared_where_its_snapshot_stands",
        ),
    ),
    edit(
        "rows-are-compared-in-each-round",
        "each round reads the whole log again",
        "control_plane/sie_config/upkeep/self_check.py",
        "            self._unlisted = None\n        return True",
        "        return True",
        (
            "tests/unit/test_config_self_check.py::test_the_rows_beside_the_entries_are_compared_in_the_first_round_that_ends_alone",
        ),
    ),
    edit(
        "a-head-that-is-known-proves-a-disk",
        "a process whose disk fails ends and starts again, and serves nothing",
        "control_plane/sie_config/upkeep/disk_watch.py",
        "                await self._head_file.write(self._sequencer.position, again=True)",
        "                await self._head_file.write(self._sequencer.position)",
        (
            "tests/unit/test_disk_faults.py::test_a_process_whose_disk_failed_ends_once_it_writes_again_and_not_before",
        ),
    ),
    edit(
        "a-key-is-named-before-it-is-on-disk",
        "after the power went the key that signed the log is empty",
        "control_plane/sie_config/keys/key_file.py",
        "                os.fsync(file.fileno())\n",
        "",
        ("tests/property/test_persistence_laws.py::test_what_gets_its_name_is_on_disk_before",),
    ),
    edit(
        "a-restore-serves-the-whole-past-again",
        "a log that was restored serves entries that were compacted away",
        "control_plane/sie_config/offline/restore.py",
        "low_water = min(reader.low_water(), begin.epoch)",
        "low_water = 1",
        (
            "tests/unit/test_log_backup.py::test_what_was_not_served_any_more_is_not_served_once_it_was_restored",
        ),
    ),
)
