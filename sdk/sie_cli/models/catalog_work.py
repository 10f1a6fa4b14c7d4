"""The catalog beside the log: `sie catalog diff`, `sie catalog apply` and `sie models`.

*shell* over the config client of one command.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sie_catalog.offers import Choice, described, entry_reason, offered, reason_not, verified
from sie_catalog.published import Published, published
from sie_cli.config.config_rows import name_of
from sie_cli.config.config_work import Ask, Work
from sie_cli.models.adding import ABSENT, adapter_operation
from sie_cli.models.catalog_changes import Change, judge, operation_of
from sie_cli.show.exit_statuses import DIFFERS, NOT_NOW
from sie_cli.show.printing import print_lines, print_rows, print_value, talk
from sie_schemas.api.past import HistoryRow
from sie_schemas.documents import admit_document
from sie_schemas.errors import FixRequest, SIEError

__all__ = ["adapters", "apply", "diff", "models"]


def diff(work: Work, choice: Choice) -> int:
    """Print what `apply` would do; status 1 where it would do anything."""
    changes = _changes(work, choice)
    _show(work, changes)
    return DIFFERS if any(each.verdict != "kept" for each in changes) else 0


def apply(work: Work, ask: Ask, choice: Choice) -> int:
    """Write what is new or changed, as one entry."""
    changes = _changes(work, choice)
    kept = [each for each in changes if each.verdict == "kept"]
    for change in kept:
        talk(f"kept {change.model_id}: {change.why}")
    operations = [operation_of(each) for each in changes if each.verdict != "kept"]
    if not operations:
        print_lines(["the log holds what this release offers"])
        return 0
    terms = replace(ask.terms(), reason=entry_reason(choice))
    return work.told(work.client.batch(operations, terms, simultaneous=True), ask)


def adapters(work: Work, ask: Ask) -> int:
    """Register the adapters that others published for models of this log, as one entry.

    Status 3 where the hub did not give one of them; the others are written.
    """
    there = {name_of("model", row) for row in work.client.entities("model")}
    operations: list[dict[str, Any]] = []
    missed = False
    for row in published():
        for repository in row.adapters if row.id in there else ():
            try:
                operation = adapter_operation(work, repository, row.id)
            except SIEError as error:
                talk(f"left out {repository} of {row.id}: {error.message}")
                missed = True
                continue
            if operation is None:
                talk(f"kept {repository} of {row.id}: its name is registered")
            else:
                operations.append(operation)
    if not operations:
        print_lines(["no adapter is new"])
    else:
        terms = replace(ask.terms(), reason=entry_reason("adapters"))
        work.told(work.client.batch(operations, terms, simultaneous=True), ask)
    return NOT_NOW if missed else 0


def models(work: Work | None, words: str, output: Any) -> int:
    """Print the models that a cluster has and those that this release knows, or some of them."""
    rows = [row for row in _rows(work) if _matches(row, words)]
    columns = ["model", "answers", "tokens", "state", "verified"]
    more = ["family", "from", "why"]
    print_rows(rows, columns, output, more=more, names=[str(row["model"]) for row in rows])
    if output.name == "table" and (told := sum(bool(row.get("why")) for row in rows)):
        talk(f"{told} of these cannot be asked as they are: -o wide tells why")
    if not rows:
        talk(f"no model matches {words!r}: `sie add ORG/NAME` takes one from the hub")
        return DIFFERS
    return 0


def _changes(work: Work, choice: Choice) -> list[Change]:
    there = {name_of("model", row): row for row in work.client.entities("model")}
    found: list[Change] = []
    for given in offered(choice):
        # As the log would hold it, with defaults: else every model would differ.
        document = admit_document("model", given)
        now = there.get(document["model_id"])
        # Before its history is asked for, which is a request for each of the models.
        if now is not None and now["document"] == document:
            continue
        change = judge(document, now, _history(work, document["model_id"]))
        if change is not None:
            found.append(change)
    return found


def _history(work: Work, model_id: str) -> list[HistoryRow]:
    try:
        return work.client.history("model", model_id)
    except FixRequest as error:
        if error.code not in ABSENT:
            raise
        return []


def _show(work: Work, changes: list[Change]) -> None:
    rows = [{"model": each.model_id, "would be": each.verdict, "why": each.why} for each in changes]
    if work.form.is_whole:
        whole = [row | {"document": each.document} for row, each in zip(rows, changes, strict=True)]
        print_value(whole, work.form)
    elif rows:
        print_rows(rows, ["model", "would be", "why"], work.form, names=[r["model"] for r in rows])
    else:
        print_lines(["the log holds what this release offers"])


def _rows(work: Work | None) -> Iterator[dict[str, Any]]:
    there: dict[str, Mapping[str, Any]] = {}
    if work is not None:
        there = {name_of("model", row): row for row in work.client.entities("model")}
    known = {row.id: row for row in published()}
    for name in sorted({*there, *known}, key=str.lower):
        yield _row(name, there.get(name), known.get(name), is_asked=work is not None)


def _row(
    name: str, entity: Mapping[str, Any] | None, row: Published | None, *, is_asked: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {"model": name, "verified": "-", "family": "-", "tokens": None}
    if row is not None:
        found |= {
            "answers": _answers(row),
            "tokens": row.tokens,
            "verified": verified(row),
            "family": row.family,
            "about": described(row),
            "from": row.repository,
        }
        offer = "not in this log" if is_asked else "offered"
        # The reason is a sentence: in the column of a pipe it would be as wide as all others.
        found["state"], _, found["why"] = (reason_not(row) or offer).partition(": ")
    if entity is not None:
        document = entity["document"]
        source = document["source"]
        tasks = document["tasks"]
        outputs = tasks.get("encode", {}).get("outputs", [])
        found |= {"state": "registered", "why": ""}
        found["from"] = source.get("id") or source.get("path") or source.get("package")
        found.setdefault("answers", ", ".join([*outputs, *(t for t in tasks if t != "encode")]))
        found.setdefault("about", document.get("description", ""))
    return found


def _answers(row: Published) -> str:
    vectors = [f"{output} {size}" for output, size in row.outputs.items()]
    return ", ".join([*vectors, *(task for task in row.tasks if task != "encode")])


def _matches(row: Mapping[str, Any], words: str) -> bool:
    text = " ".join(str(value) for value in row.values()).lower()
    return all(word in text for word in words.lower().split())
