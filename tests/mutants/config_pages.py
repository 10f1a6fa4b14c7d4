"""Mutants of what sie-config reads out: pages of the log and the audit, and long polls.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["CONFIG_PAGES_MUTANTS"]

FOLLOW = "control_plane/sie_config/http/follow_routes.py"
_TURNS = "tests/unit/test_page_turns.py::"
_TURN = (f"{_TURNS}test_a_stream_waits_for_its_turn_and_who_writes_does_not",)
_UNREAD = (f"{_TURNS}test_who_reads_nothing_of_a_stream_takes_nobodys_turn",)

CONFIG_PAGES_MUTANTS = (
    edit(
        "pages-of-the-log-are-read-for-all-at-once",
        "a crowd that asks for the whole log keeps every writer waiting",
        FOLLOW,
        "        async with plane.pages.turn():\n            part",
        "        if True:\n            part",
        _TURN,
    ),
    edit(
        "pages-of-the-audit-are-read-for-all-at-once",
        "a crowd that asks for the whole audit fills the memory of sie-config",
        "control_plane/sie_config/http/group_routes.py",
        "    async with plane.pages.turn():\n        return await read_audit(",
        "    if True:\n        return await read_audit(",
        _TURN,
    ),
    edit(
        "who-does-not-read-keeps-its-turn",
        "two clients that read nothing keep everybody from the log and the audit",
        FOLLOW,
        "        if not part:\n            return\n        yield part\n",
        "            if not part:\n                return\n            yield part\n",
        _UNREAD,
    ),
    edit(
        "a-crowd-of-pages-at-once",
        "a crowd that asks for the whole audit fills the memory of sie-config",
        "control_plane/sie_config/settings.py",
        "    pages_at_once_max: int = constant(\n        2,",
        "    pages_at_once_max: int = constant(\n        200,",
        _TURN,
    ),
    edit(
        "a-poll-sleeps-through-a-write",
        "a follower that waits for news hears of a write when its wait is over",
        FOLLOW,
        "                await plane.sequencer.moved()\n",
        "                await asyncio.Event().wait()\n",
        ("tests/unit/test_config_api.py::test_a_long_poll_ends_with_the_write_that_it_waits_for",),
    ),
)
