"""Mutants of the journal: entries read back, from memory and from the file.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["JOURNAL_MUTANTS"]

_JOURNAL = "control_plane/sie_config/log/journal.py"
_READ_BACK = (
    "tests/property/test_store_laws.py::test_a_journal_gives_the_entries_that_are_asked_for_from"
    "_memory_where_it_has_them",
)

JOURNAL_MUTANTS = (
    edit(
        "a-tail-with-a-gap-before-it",
        "a follower at the edge of memory is given one entry for another",
        _JOURNAL,
        "self._tail[0].epoch <= after + 1 and",
        "self._tail[0].epoch <= after + 2 and",
        _READ_BACK,
    ),
    edit(
        "a-tail-that-ends-early",
        "a reader of what is not in memory yet ends a request with an error",
        _JOURNAL,
        "self._tail[-1].epoch >= until:",
        "self._tail[-1].epoch >= after:",
        _READ_BACK,
    ),
    edit(
        "a-page-is-beyond-what-was-asked",
        "what is committed and not announced is seen",
        _JOURNAL,
        "SELECT_ROWS, (after, until, until - after)",
        "SELECT_ROWS, (after, until + 1, until - after + 1)",
        _READ_BACK,
    ),
    edit(
        "a-page-from-the-file-is-short",
        "followers ask the writer's disk for the last entry again and again",
        _JOURNAL,
        "return [entry_of(tuple(row)) for row in rows]",
        "return [entry_of(tuple(row)) for row in rows][: until - after - 1]",
        _READ_BACK,
    ),
    edit(
        "a-damaged-row-is-no-damage",
        "a damaged log is answered as a fault of our code",
        _JOURNAL,
        "except (EntryCorrupt, sqlite3.DatabaseError) as error:",
        "except sqlite3.DatabaseError as error:",
        _READ_BACK,
    ),
    edit(
        "a-tail-is-turned-round",
        "followers are given the newest entries in a wrong order, or none",
        _JOURNAL,
        "self._tail.extend(entries)",
        "self._tail.extendleft(entries)",
        _READ_BACK,
    ),
    edit(
        "memory-is-never-asked",
        "a crowd near the head is a crowd at the disk",
        _JOURNAL,
        "if self._tail and self._tail[0]",
        "if not self._tail and self._tail[0]",
        _READ_BACK,
    ),
)
