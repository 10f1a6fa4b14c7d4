"""Laws of an apply that prunes: what it leaves is what the files say, whoever writes meanwhile."""

import json
from contextlib import redirect_stderr
from io import StringIO
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from sie_cli.config.config_work import Ask, Work
from sie_cli.config.kinds import KINDS
from sie_cli.config.writes import Prune, apply
from sie_cli.show.printing import Form
from sie_schemas.errors import FixRequest
from sie_sdk import Terms

NAMED = st.tuples(st.sampled_from(["bundle", "pool"]), st.sampled_from(["a", "b", "c"]))
WRITES = st.lists(st.none() | NAMED, max_size=6)
"""Before each call of the command nobody writes, or somebody puts one that was not there, or takes
one away."""
ONE_WRITE = st.builds(lambda calls, entity: [None] * calls + [entity], st.integers(0, 9), NAMED)


class Shared:
    """A sie-config that others write to between the calls of a command."""

    def __init__(self, there: dict[tuple[str, str], str], writes: list[Any]) -> None:
        self.head = 1
        self.there: dict[tuple[str, str], int] = {}
        self._actors: dict[int, str] = {1: "sie-config"}
        self._writes = writes
        for entity, actor in there.items():
            self._put(entity, actor)

    def _put(self, entity: tuple[str, str], actor: str) -> None:
        self.head += 1
        self.there[entity] = self.head
        self._actors[self.head] = actor

    def _meanwhile(self) -> None:
        entity = self._writes.pop(0) if self._writes else None
        if entity in self.there:
            self.head += 1
            self._actors[self.head] = "eve"
            del self.there[entity]
        elif entity is not None:
            self._put(entity, "eve")

    def entities(self, kind: str) -> list[dict[str, Any]]:
        """Every entity of a kind."""
        self._meanwhile()
        return [
            {"name": key, "modified_epoch": epoch}
            for (each, key), epoch in self.there.items()
            if each == kind
        ]

    def entry(self, epoch: int) -> dict[str, Any]:
        """An entry, and its author."""
        self._meanwhile()
        return {"body": {"actor": self._actors[epoch]}}

    def place(self) -> dict[str, int]:
        """The head."""
        self._meanwhile()
        return {"epoch": self.head}

    def batch(
        self, operations: list[dict[str, Any]], terms: Terms, *, simultaneous: bool
    ) -> dict[str, Any]:
        """All of them, on the terms."""
        self._meanwhile()
        if terms.if_epoch not in {None, self.head}:
            raise FixRequest("moved", code="PRECONDITION_FAILED")
        for each in operations:
            entity = (each["kind"], each["key"])
            if each["op"] == "put":
                self._put(entity, "eve")
            elif self.there.pop(entity, None) is None:
                raise FixRequest("gone", code="NOT_FOUND")
        return {}


@given(
    there=st.dictionaries(NAMED, st.sampled_from(["eve", "sie-config"]), max_size=5),
    files=st.lists(NAMED, min_size=1, max_size=4, unique=True),
    kept=st.sampled_from([(), ("pool",), ("bundle",)]),
    writes=st.just([]) | ONE_WRITE | WRITES,
    if_epoch=st.just(None) | st.integers(1, 7),
)
def test_it_leaves_what_the_files_say_or_changes_nothing(
    tmp_path_factory, there, files, kept, writes, if_epoch
):
    shared = Shared(there, writes)
    client = SimpleNamespace(
        head=shared.place, entities=shared.entities, entry=shared.entry, batch=shared.batch
    )
    told = SimpleNamespace(client=client, form=Form.TABLE, told=lambda answer, ask: 0)
    path = tmp_path_factory.mktemp("files") / "all.json"
    path.write_text(json.dumps([{"kind": kind, "name": key} for kind, key in files]))
    spoken = {kind for kind, _ in files}
    own = {entity for entity, actor in there.items() if actor == "sie-config"}
    with redirect_stderr(StringIO()):
        try:
            apply(cast("Work", told), str(path), Ask(if_epoch=if_epoch), Prune(kept))
        except FixRequest as refused:
            # A kind that is kept elsewhere is in no file, and what moved is looked at again.
            assert spoken & set(kept) or refused.code == "PRECONDITION_FAILED"
            return
    assert not spoken & set(kept)
    assert if_epoch is None or if_epoch == shared.head - len(files)
    for kind in KINDS:
        left = {entity for entity in shared.there if entity[0] == kind}
        said = {entity for entity in files if entity[0] == kind}
        if kind in kept:
            continue
        if kind in spoken:
            assert left == said
        else:
            # What sie-config wrote itself is nobody's file.
            assert left <= own
