"""Mutants of schemas, the chain, the fold's state and what is resolved from it.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["CORE_MUTANTS"]

APPLY = "shared/core/sie_core/apply.py"
FOLD = "tests/property/test_fold_laws.py"
STOPS = "tests/unit/test_replica_stops.py"
CHAIN = "shared/core/sie_core/chain.py"
CORNERS = "tests/unit/test_log_corners.py"
RESOLVER_LAWS = "tests/property/test_resolver_laws.py"
LAWS = ("tests/property/test_option_laws.py",)
REGISTRY = "shared/core/sie_core/registry.py"
RESOLVER = "shared/core/sie_core/resolver.py"
RESOLVE_LAWS = "tests/property/test_resolve_laws.py"
_TRUST = "shared/core/sie_core/trust.py"
_SIGNED = "tests/property/test_signature_laws.py::"
MACHINE = "tests/property/test_replica_machine.py"
CANONICAL = "shared/schemas/sie_schemas/canonical.py"
SCHEMA = "tests/property/test_schema_laws.py"
ENTRY = "shared/schemas/sie_schemas/entry.py"

CORE_MUTANTS = (
    edit(
        "delete-changes-nothing",
        "a deleted model is served for ever",
        APPLY,
        "            pending[entity_id] = None\n",
        "            pending.pop(entity_id, None)\n",
        (FOLD,),
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
        "layers-keep-what-went",
        "a deleted model is listed again once the layers are joined",
        "shared/core/sie_core/layered.py",
        "for key in [key for key, value in upper.items() if value is None]:",
        "for key in [key for key, value in upper.items() if value is None and key in self._lower]:",
        (RESOLVER_LAWS,),
    ),
    edit(
        "an-unknown-option-is-passed-over",
        "a misspelt adapter is answered by the base",
        "shared/core/sie_core/options.py",
        "            if other_names and not any(each.name == name for each in declared):\n",
        "            if not any(each.name == name for each in declared):\n",
        LAWS,
    ),
    edit(
        "difference-is-from-the-newest",
        "a reader that is two entries behind takes up one",
        "shared/core/sie_core/registry.py",
        "        if self._made_of is older._name:\n",
        "        if self._made_by:\n",
        (RESOLVER_LAWS, "tests/property/test_fold_laws.py"),
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
        "bundle-of-the-lowest-rank",
        "requests go to the bundle that its operator ranked last",
        RESOLVER,
        "return compatible[0][1] if compatible else None",
        "return compatible[-1][1] if compatible else None",
        (RESOLVE_LAWS,),
    ),
    edit(
        "alias-hides-an-id",
        "a model is served under another's name since somebody gave it that alias",
        RESOLVER,
        "model_id = name if name in self.models else self._aliases.get(name, name)",
        "model_id = self._aliases.get(name, name)",
        (RESOLVE_LAWS,),
    ),
    edit(
        "unknown-profile-is-the-default",
        "a mistyped profile is answered, by another one",
        RESOLVER,
        "        profile = profile or _DEFAULT_PROFILE\n",
        '        profile = profile if profile in document["profiles"] else _DEFAULT_PROFILE\n',
        (RESOLVE_LAWS,),
    ),
    edit(
        "a-place-may-stand-twice",
        "a template with a place that nobody fills is taken",
        "shared/core/sie_core/templates.py",
        "        held = parts[1::2]\n",
        "        held = parts[1:2]\n",
        LAWS,
    ),
    edit(
        "first-key-signs-nothing",
        "whoever comes first can have his key believed without having it",
        _TRUST,
        "            return then if then.accepts(entry) else self\n        then",
        "            return then\n        then",
        (
            f"{_SIGNED}test_the_first_key_of_all_is_believed_only_if_it_signed_the_entry_that"
            "_brings_it",
        ),
    ),
    edit(
        "any-key-may-follow",
        "an attacker names his own key, and is the writer from then on",
        _TRUST,
        "        then = Trust(self.verify, public, self.public, entry.epoch)\n"
        "        return then if then.accepts(entry) else self\n",
        "        return Trust(self.verify, public)\n",
        (MACHINE,),
    ),
    edit(
        "snapshot-needs-no-signature",
        "a stranger at the writer's address replaces the whole registry",
        _TRUST,
        "return trust if trust.accepts(snapshot.entry) else None",
        "return trust",
        (MACHINE,),
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
        "hash-is-not-checked",
        "bytes that changed on the way are an entry",
        ENTRY,
        "    if actual != claimed_hash:\n",
        "    if not claimed_hash:\n",
        (SCHEMA,),
    ),
    edit(
        "signature-leaves-out-the-digest",
        "a head under an old signature tells a replica that its state is wrong",
        "shared/schemas/sie_schemas/signature.py",
        "fields = (log_id, str(epoch), hash, digest, key_id)",
        "fields = (log_id, str(epoch), hash, key_id)",
        ("tests/property/test_signature_laws.py",),
    ),
    edit(
        "a-signed-log-without-keys-is-believed",
        "at first contact a snapshot that a stranger signed is followed unsigned",
        "shared/core/sie_core/trust.py",
        "return trust if snapshot.entry.signature is None else None",
        "return trust",
        (
            "tests/property/test_signature_laws.py::test_a_reader_walks_from_key_to_key_and_takes_none_that_the_last_did_not_sign",
        ),
    ),
    edit(
        "an-option-of-another-operation-passes",
        "an option that has no effect is taken without a word",
        "shared/core/sie_core/options.py",
        "if other_names and not any(each.name == name for each in declared):",
        "if other_names:",
        (
            "tests/property/test_option_laws.py::test_a_name_that_is_another_s_to_check_is_let_through_unless_it_is_declared_elsewhere",
        ),
    ),
    edit(
        "a-text-of-just-the-bound-is-refused",
        "an instruction of the length that the page names is refused",
        "shared/core/sie_core/options.py",
        "if len(value) > _TEXT_MAX:",
        "if len(value) >= _TEXT_MAX:",
        (
            "tests/property/test_option_laws.py::test_a_text_may_have_8192_characters_and_not_one_more",
        ),
    ),
)
