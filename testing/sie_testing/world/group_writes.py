"""Rules of the cluster machine for writes of several changes: batches, patches and reverts.

*shell.* Rules over the wired cluster. Checked on the spot: a batch is one entry or none, and a
patch changes what it names and nothing else. A revert to any epoch, and back, is the identity on
documents. The difference that was shown before is what it then did.
"""

from typing import Any, Final

import hypothesis.strategies as st
import msgspec
from hypothesis.stateful import precondition, rule

from sie_config.documents.differences import changes_between, registry_patch
from sie_config.writer.operations import Operation
from sie_core.registry import Entity, Registry
from sie_testing.json_patching import as_json, patched
from sie_testing.stage.broken import Broken
from sie_testing.world.cluster import WiredCluster

__all__ = ["GroupWrites"]

Documents = dict[tuple[str, str], bytes]

_MODELS: Final = ("org/a", "org/b", "org/c")
_OPERATIONS: Final = st.lists(
    st.tuples(st.sampled_from(("put", "patch", "delete")), st.sampled_from(_MODELS)),
    min_size=1,
    max_size=3,
)


class GroupWrites(WiredCluster):
    """See the module."""

    @precondition(lambda self: self.writer is not None)
    @rule(asked=_OPERATIONS, simultaneous=st.booleans(), text=st.sampled_from("xyz"))
    def client_writes_a_batch(
        self, asked: list[tuple[Any, str]], simultaneous: bool, text: str
    ) -> None:
        self.fired["client_writes_a_batch"] += 1
        operations = [_operation(op, model, text) for op, model in asked]
        before, head = self._documents(), len(self.volume.entries)
        if not self._sent_batch(operations, simultaneous=simultaneous):
            assert self._documents() == before, "a refused batch has changed something"
            return
        assert len(self.volume.entries) - head <= 1, "a batch is one entry or none"
        touched = {("model", model) for _, model in asked}
        after = self._documents()
        for slot in before.keys() | after.keys():
            assert slot in touched or before.get(slot) == after.get(slot), f"{slot} was not named"

    @precondition(lambda self: self.writer is not None)
    @rule(model=st.sampled_from(_MODELS), text=st.sampled_from("xyz"))
    def client_patches(self, model: str, text: str) -> None:
        self.fired["client_patches"] += 1
        before = self._documents().get(("model", model))
        if not self._sent_batch([_operation("patch", model, text)], simultaneous=False):
            return
        assert before is not None, "what is not there was patched"
        after = msgspec.json.decode(self._documents()["model", model])
        assert after == msgspec.json.decode(before) | {"description": text}
        self.fired["patched"] += 1

    @precondition(lambda self: self.writer is not None and len(self.volume.entries) > 3)
    @rule(data=st.data())
    def operator_reverts_and_takes_it_back(self, data: st.DataObject) -> None:
        self.fired["operator_reverts_and_takes_it_back"] += 1
        now = self._registry(self.volume.entries[-1].hash)
        then = self._registry(data.draw(st.sampled_from(self.volume.entries)).hash)
        for wanted in (then, now):
            assert self.writer is not None
            sequencer = self.writer.plane.sequencer
            before = sequencer.registry
            shown = registry_patch(changes_between(before, wanted))
            key = self.new_key("revert")
            if not self.send(self.writer.revert(wanted, key=key), key):
                return
            if self._documents() != _documents_of(wanted):
                raise Broken("a revert did not bring the documents back")
            if patched(as_json(before), shown) != as_json(sequencer.registry):
                raise Broken("a revert did something else than its difference said")
            self.fired["difference borne out"] += bool(shown)
        self.fired["reverted and back"] += 1

    def _sent_batch(self, operations: list[Operation], *, simultaneous: bool) -> bool:
        assert self.writer is not None
        key = self.new_key("batch")
        write = self.writer.batch(operations, simultaneous=simultaneous, key=key)
        return write is not None and self.send(write, key)

    def _documents(self) -> Documents:
        assert self.writer is not None
        return _documents_of(self.writer.plane.sequencer.registry)

    def _registry(self, hash_: str) -> Registry:
        return Registry.of(
            Entity(kind, key, epoch, document)
            for (kind, key), (epoch, document) in self.truth.states[hash_].items()
        )


def _documents_of(registry: Registry) -> Documents:
    return {(entity.kind, entity.key): entity.document for entity in registry}


def _operation(op: Any, model: str, text: str) -> Operation:
    if op == "patch":
        return Operation(op=op, kind="model", key=model, patch={"description": text})
    if op == "delete":
        return Operation(op=op, kind="model", key=model)
    document = {
        "model_id": model,
        "source": {"type": "hub", "id": "org/weights", "revision": "0" * 40},
        "tasks": {"encode": {}},
        "profiles": {"default": {"backend": "transformer"}},
        "description": f"batch {text}",
    }
    return Operation(op=op, kind="model", document=document)
