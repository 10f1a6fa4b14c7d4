"""Mutants of the fold, the chain, the replica and what it keeps.

*types.*
"""

from tests.mutants.mutant import Edit, Mutant, edit

__all__ = ["REPLICA_MUTANTS"]

REPLICA = "shared/core/sie_core/replica/replica.py"
FOLDING = "shared/core/sie_core/replica/fold.py"
BUFFER = "shared/core/sie_core/replica/early_entries.py"
CHAIN = "shared/core/sie_core/chain.py"
APPLY = "shared/core/sie_core/apply.py"
REGISTRY = "shared/core/sie_core/registry.py"
ENTRY = "shared/schemas/sie_schemas/entry.py"
CANONICAL = "shared/schemas/sie_schemas/canonical.py"
SOURCE = "shared/runtime/sie_runtime/follower/log_source.py"
FILES = "shared/runtime/sie_runtime/follower/replica_files.py"
STORED = "shared/runtime/sie_runtime/follower/stored_log.py"

MACHINE = "tests/property/test_replica_machine.py"
STOPS = "tests/unit/test_replica_stops.py"
FOLD = "tests/property/test_fold_laws.py"
SCHEMA = "tests/property/test_schema_laws.py"
CORNERS = "tests/unit/test_log_corners.py"
DISK = "tests/unit/test_disk_faults.py"
REPLICA_FILES = "tests/unit/test_replica_files.py"

REPLICA_MUTANTS = (
    edit(
        "a-damaged-line-ends-a-tail",
        "of a thousand kept entries one is damaged, and those after it cannot be given back",
        FILES,
        "            # The lines after it are as good as they were.\n            continue",
        "            return",
        (REPLICA_FILES,),
    ),
    edit(
        "the-next-boot-drops-what-lies-behind-a-damaged-line",
        "entries that a writer has lost are overwritten by the replica that alone has them",
        FILES,
        "tail = self._begin_tail(epoch, (*found[: self._confirmed], *unread))",
        "tail = self._begin_tail(epoch, found[: self._confirmed])",
        (REPLICA_FILES,),
    ),
    Mutant(
        "epoch-set-to-max",
        "a lost delta is skipped: the epoch is the writer's, a model is missing for good",
        (
            Edit(
                BUFFER,
                "        run: list[Entry] = []\n",
                "        run: list[Entry] = []\n        first = min(self._kept, default=first)\n",
            ),
            Edit(
                FOLDING,
                "            check_successor(position, entry)\n            next_ = apply",
                "            next_ = apply",
            ),
            Edit(
                FOLDING,
                "if applied and after.digest != applied[-1].state_digest:",
                "if applied and not applied:",
            ),
            Edit(
                FOLDING,
                "if entry.epoch % digest_every == 0 and next_.digest != entry.state_digest:",
                "if digest_every == 0:",
            ),
        ),
        (MACHINE,),
    ),
    edit(
        "head-compares-epoch-only",
        "a replica with other contents at the writer's epoch counts itself as current",
        REPLICA,
        "if head.epoch == here.epoch and head.digest != here.digest:",
        "if head.epoch < 0:",
        (STOPS,),
    ),
    edit(
        "gap-is-not-fetched",
        "the delivery is trusted to be complete: what it lost is not asked for",
        REPLICA,
        "        elif entry.epoch > here.epoch:\n            self._note_head_epoch(entry.epoch)\n",
        "        elif entry.epoch > here.epoch:\n",
        (CORNERS,),
    ),
    edit(
        "a-busy-stream-puts-off-the-fetch",
        "under steady writes a replica with a gap never asks for what it lacks",
        REPLICA,
        "case RangeArrived() if event.fetch_id == 0:",
        "case RangeArrived() if event.fetch_id < 0:",
        ("tests/property/test_replica_gap_laws.py",),
    ),
    edit(
        "delete-changes-nothing",
        "a deleted model is served for ever",
        APPLY,
        "            pending[entity_id] = None\n",
        "            pending.pop(entity_id, None)\n",
        (FOLD,),
    ),
    Mutant(
        "snapshot-overlays",
        "what was deleted while a replica was away comes back with its snapshot",
        (
            Edit(
                REPLICA,
                "registry = registry_of(snapshot)\n",
                "registry = self.registry.with_changes(\n"
                "            {(e.kind, e.key): e for e in registry_of(snapshot)}\n        )\n",
            ),
            Edit(
                REPLICA,
                "if registry.digest != entry.state_digest and entry.v == ENTRY_VERSION:",
                "if entry.v < 0:",
            ),
        ),
        (CORNERS, MACHINE),
    ),
    edit(
        "digest-omits-a-field",
        "two replicas differ in when a model changed, and prove to each other that they agree",
        REGISTRY,
        "% (_LEAF, kind.encode(), key.encode(), modified_epoch, document)",
        "% (_LEAF, kind.encode(), key.encode(), 0, document)",
        (FOLD,),
    ),
    edit(
        "digest-forgets-what-was-not-asked-for",
        "after entries that came together, a replica and its writer disagree for ever",
        REGISTRY,
        "self._joined, (*self._changed, *changed)",
        "self._joined, tuple(changed)",
        (FOLD,),
    ),
    edit(
        "digest-is-not-checked",
        "memory that went bad is served",
        FOLDING,
        "if applied and after.digest != applied[-1].state_digest:",
        "if applied and not applied:",
        (STOPS,),
    ),
    edit(
        "snapshot-is-not-checked",
        "a snapshot that somebody changed on the way is served",
        REPLICA,
        "if registry.digest != entry.state_digest and entry.v == ENTRY_VERSION:",
        "if entry.v < 0:",
        (STOPS, DISK),
    ),
    edit(
        "fork-goes-unnoticed",
        "after a split writer, replicas serve two histories under one epoch",
        REPLICA,
        "if entry.epoch == here.epoch and entry.hash != here.hash and self._believes(entry):",
        "if entry.epoch < 0:",
        (STOPS,),
    ),
    edit(
        "head-fork-goes-unnoticed",
        "a replica that serves another history than the writer's calls itself fresh",
        REPLICA,
        "if head.epoch == here.epoch and head.hash != here.hash:",
        "if head.epoch < 0:",
        (STOPS,),
    ),
    edit(
        "older-snapshot-is-taken",
        "behind a cache, time runs backwards",
        REPLICA,
        "if here is not None and same_log and entry.epoch <= here.epoch:",
        "if here is not None and same_log and entry.epoch == here.epoch:",
        (STOPS, MACHINE),
    ),
    edit(
        "any-log-is-followed",
        "a second writer with a log of its own takes over replicas of ours",
        REPLICA,
        "            if why:\n",
        "            if refusal is None:\n",
        (STOPS,),
    ),
    edit(
        "unknown-kind-is-skipped",
        "an old replica passes over what it cannot read, and its position goes on",
        APPLY,
        "        entity_id = _entity_id(change, epoch)\n",
        "        if change.entity_kind not in ENTITY_KINDS:\n            continue\n"
        "        entity_id = _entity_id(change, epoch)\n",
        (STOPS, FOLD),
    ),
    edit(
        "upcast-inside-the-fold",
        "a release that fills defaults in has another digest than the one before it",
        APPLY,
        "Entity(change.entity_kind, change.key, epoch, bytes(change.document))",
        "Entity(change.entity_kind, change.key, epoch, b'{\"v\":2,' + bytes(change.document)[1:])",
        (FOLD, "tests/unit/test_store_file.py"),
    ),
    edit(
        "terms-may-fall",
        "what an outvoted writer wrote is accepted after its successor's",
        CHAIN,
        "    if entry.term < last.term:\n",
        "    if entry.term < 0:\n",
        (FOLD,),
    ),
    edit(
        "links-are-not-checked",
        "an entry of another history is applied where its number fits",
        CHAIN,
        "    if entry.prev_hash != last.hash:\n",
        "    if not entry.prev_hash:\n",
        (FOLD,),
    ),
    edit(
        "new-log-need-not-supersede",
        "a log that begins at the next epoch is taken for the continuation of ours",
        CHAIN,
        "    if begin is not None:\n        _check_supersedes(",
        "    if begin is None and last is None:\n        _check_supersedes(",
        (CORNERS,),
    ),
    edit(
        "hash-is-not-checked",
        "bytes that changed on the way are an entry",
        ENTRY,
        "    if actual != claimed_hash:\n",
        "    if not claimed_hash:\n",
        (SCHEMA,),
    ),
    edit(
        "duplicate-keys-are-read",
        "two readers see two meanings in one document",
        CANONICAL,
        "    if len(mapping) != len(pairs):\n",
        "    if len(mapping) > len(pairs):\n",
        (SCHEMA,),
    ),
    edit(
        "tail-with-a-hole-is-given-back",
        "a replica that kept 7 and 9 offers them to a writer as 7 and 8",
        FILES,
        "        while (entry := kept.get(epoch + 1)) is not None:\n"
        "            if before is not None and entry.prev_hash != before.hash:\n"
        "                return\n"
        "            yield entry\n",
        "        for entry in (kept[each] for each in sorted(kept) if each > epoch):\n"
        "            yield entry\n",
        (REPLICA_FILES,),
    ),
    edit(
        "no-room-is-not-told",
        "what a slow replica did not take is missing until a head names it",
        STORED,
        "        if sequence > self._next or not self._on_message(sequence, data):\n",
        "        if sequence > self._next or self._on_message(sequence, data) is None:\n",
        ("tests/integration/test_broker_contracts.py",),
    ),
    edit(
        "reset-while-connecting-ends-the-process",
        "a link to the writer that breaks at the wrong moment takes gateways and workers down",
        SOURCE,
        "    except (httpx.HTTPError, OSError, AttributeError) as error:\n",
        "    except httpx.HTTPError as error:\n",
        ("tests/unit/test_log_source.py",),
    ),
    edit(
        "orphaned-entries-are-written-over",
        "a replica with a damaged snapshot destroys entries that a writer lost and it alone has",
        FILES,
        "kept = tuple(self._after(snapshot.entry.epoch)) if self._orphaned else ()",
        "kept = ()",
        (REPLICA_FILES,),
    ),
    edit(
        "anothers-entries-are-kept-behind-a-snapshot",
        "the tail of another history stands behind a snapshot that it does not lead on from",
        FILES,
        "if not kept or kept[0].prev_hash != snapshot.entry.hash:",
        "if not kept:",
        (REPLICA_FILES,),
    ),
    edit(
        "a-resync-brings-back-what-was-given-up",
        "what an operator has a replica give up comes back from its own files",
        FILES,
        "if self._orphaned else ()",
        "if self._orphaned is not None else ()",
        (REPLICA_FILES,),
    ),
    edit(
        "later-tails-are-not-read",
        "behind a damaged snapshot a replica boots older than it was, and fetches what it has",
        FILES,
        "tuple(self._after(epoch, since=epoch))",
        "tuple(_entries(self._tail_path(epoch)))",
        (REPLICA_FILES,),
    ),
)
