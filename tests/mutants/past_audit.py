"""Mutants of `audit.py` (the past).

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["PAST_AUDIT_MUTANTS"]

_PAST = "tests/property/test_past_laws.py::"
_AUDITED = (f"{_PAST}test_an_audit_tells_each_row_of_its_span_once_in_pages_of_any_length",)
_ROW = (f"{_PAST}test_a_row_of_an_entry_counts_all_that_changed_and_names_the_first_of_it",)

PAST_AUDIT_MUTANTS = (
    edit(
        "an-audit-parts-one-moment",
        "a refusal at the very moment of a change is in no page of the audit",
        "control_plane/sie_config/past/audit.py",
        "page = tuple(row for at, row in found if at >= last_us)",
        "page = tuple(row for at, row in found[: query.limit])",
        _AUDITED,
    ),
    edit(
        "an-audit-begins-behind-its-beginning",
        "an audit from the time of an entry on does not have that entry",
        "control_plane/sie_config/past/audit.py",
        (
            "first = await timeline.last_at(format_ts(query.since_us - 1)) + 1 if "
            "query.since_us else 1"
        ),
        ("first = await timeline.last_at(format_ts(query.since_us)) + 1 if query.since_us else 1"),
        _AUDITED,
    ),
    edit(
        "a-full-page-is-the-last",
        "of what somebody changed only the newest is told",
        "control_plane/sie_config/past/audit.py",
        (
            "            limit=query.limit + 1,\n"
            "        )\n"
            "        entries = await timeline.entries(epochs)"
        ),
        (
            "            limit=query.limit,\n"
            "        )\n"
            "        entries = await timeline.entries(epochs)"
        ),
        _AUDITED,
    ),
    edit(
        "an-entry-counts-what-it-shows",
        "an entry that changed a thousand models says that it changed twenty",
        "control_plane/sie_config/past/audit.py",
        '"changed": len(changes), "changes": changes[:_CHANGES_SHOWN]',
        '"changed": len(changes[:_CHANGES_SHOWN]), "changes": changes[:_CHANGES_SHOWN]',
        _ROW,
    ),
    edit(
        "a-signing-key-is-an-entity",
        "a list of entries tells of an entity of a kind that there is not",
        "control_plane/sie_config/past/audit.py",
        "            if change.entity_kind in ENTITY_KINDS\n",
        "            if change.key\n",
        _ROW,
    ),
    edit(
        "a-next-page-is-empty",
        "a reader of the audit is sent on to a page of nothing",
        "control_plane/sie_config/past/audit.py",
        "if len(page) < len(found) else None",
        "if len(found) > query.limit else None",
        _AUDITED,
    ),
    edit(
        "a-page-is-a-row-longer",
        "a page of the audit has more rows than were asked for",
        "control_plane/sie_config/past/audit.py",
        "last_us = found[query.limit - 1][0]",
        "last_us = found[query.limit][0]",
        _AUDITED,
    ),
    edit(
        "an-audit-tells-entries-first",
        "refusals stand behind the entries that came after them",
        "control_plane/sie_config/past/audit.py",
        "    found.sort(key=lambda pair: pair[0], reverse=True)\n",
        "",
        _AUDITED,
    ),
    edit(
        "an-audit-of-an-actor-is-of-every-kind",
        "who asks what somebody did to pools is told of models",
        "control_plane/sie_config/past/audit.py",
        "            kind=query.kind,\n            key=query.key,\n            first",
        "            kind=None,\n            key=query.key,\n            first",
        _AUDITED,
    ),
    edit(
        "an-audit-is-of-a-kind-or-of-a-key",
        "who asks for one entity is told of every other of its kind",
        "control_plane/sie_config/past/audit.py",
        '" AND ".join(f"{column} = ?" for column in columns)',
        '" OR ".join(f"{column} = ?" for column in columns)',
        _AUDITED,
    ),
    edit(
        "a-page-of-refusals-is-the-last",
        "of what was refused only the newest is told",
        "control_plane/sie_config/past/audit.py",
        "before_us=query.before_us, limit=query.limit + 1",
        "before_us=query.before_us, limit=query.limit",
        _AUDITED,
    ),
    edit(
        "a-failed-flush-waits-for-the-next-refusal",
        "what was refused on a full disk is recorded only when somebody else is refused",
        "control_plane/sie_config/past/refusals.py",
        "without a word.\n                self._noted.set()\n",
        "without a word.\n",
        (
            "tests/unit/test_config_refusals.py::test_what_could_not_be_written_is_written_though_nobody_else_is_refused",
        ),
    ),
    edit(
        "the-audit-leaves-out-why-a-gate-was-passed",
        "an audit does not tell that a change was forced",
        "control_plane/sie_config/past/audit.py",
        '        "forced": entry.forced,\n',
        "",
        (
            "tests/unit/test_config_writes.py::test_removing_more_than_three_and_a_fifth_wants_a_reason_that_is_kept",
        ),
    ),
    edit(
        "pages-of-blame-in-any-order",
        "two who ask at once leave pages that name the author of another epoch",
        "control_plane/sie_config/past/origins.py",
        "if len(self.epochs) < _PAGES_MAX and (not self.epochs or self.epochs[-1] < epoch):",
        "if len(self.epochs) < _PAGES_MAX:",
        (
            "tests/unit/test_config_lookup.py::test_pages_that_two_readers_found_at_once_are_in_order_and_each_is_kept_once",
        ),
    ),
    edit(
        "kind-and-key-change-places",
        "an audit of one entity is empty",
        "control_plane/sie_config/past/audit.py",
        "[*columns.values()]",
        "[*columns.values()][::-1]",
        (
            "tests/property/test_past_laws.py::test_an_audit_tells_each_row_of_its_span_once_in_pages_of_any_length",
        ),
    ),
)
