"""Mutants of the command line.

*types.*
"""

from tests.mutants.mutant import Edit, Mutant, edit

__all__ = ["CLI_MUTANTS"]

APPLYING = "sdk/sie_cli/config/applying.py"
SCALING = "sdk/sie_cli/supervisor/scaling.py"

CLI_MUTANTS = (
    edit(
        "pruning-goes-by-name-alone",
        "what was taken out of the files stays, where another kind has its name",
        APPLYING,
        "            if (kind, key) not in wanted\n",
        "            if key not in {name for _, name in wanted}\n",
        ("tests/property/test_cli_folder_laws.py",),
    ),
    Mutant(
        "pruning-forgets-the-users-condition",
        "an apply that was to rest on one epoch is made on another",
        # Either of them alone changes nothing: the other still refuses what moved.
        (
            Edit(
                "sdk/sie_cli/config/writes.py",
                "if ask.if_epoch not in {None, head}:",
                "if False:",
            ),
            Edit(
                "sdk/sie_cli/config/config_work.py",
                "if_epoch=self.if_epoch if self.if_epoch is not None else if_epoch,",
                "if_epoch=if_epoch if if_epoch is not None else self.if_epoch,",
            ),
        ),
        (
            (
                "tests/property/test_cli_prune_laws.py::test_it_leaves_what_the_files_say"
                "_or_changes_nothing"
            ),
        ),
    ),
    Mutant(
        "one-name-in-two-kinds-is-refused",
        "a pool and a bundle cannot both be called default",
        (
            Edit(
                "sdk/sie_cli/config/documents.py",
                "seen: dict[tuple[str, str], LocalDocument] = {}",
                "seen: dict[str, LocalDocument] = {}",
            ),
            Edit(
                "sdk/sie_cli/config/documents.py",
                "seen.setdefault((each.kind, each.key), each)",
                "seen.setdefault(each.key, each)",
            ),
        ),
        (
            (
                "tests/property/test_cli_prune_laws.py::test_it_leaves_what_the_files_say"
                "_or_changes_nothing"
            ),
        ),
    ),
    edit(
        "events-go-on-behind-the-head",
        "what was written while a connection was away is never shown",
        "sdk/sie_cli/config/events.py",
        (
            '                if event.name != "head":\n'
            "                    last_id = event.id or last_id"
        ),
        "                last_id = event.id or last_id",
        (
            (
                "tests/property/test_cli_event_laws.py::test_every_entry_is_shown_once_an"
                "d_in_order_whenever_it_was_written"
            ),
        ),
    ),
    edit(
        "the-past-is-read-before-the-present",
        "what is written between the two looks of a command is shown by neither",
        "sdk/sie_cli/config/events.py",
        (
            "    last_id, amiss = _present(work, changes)\n"
            "    rows, has_more = audited(work, told, number)\n"
        ),
        (
            "    rows, has_more = audited(work, told, number)\n"
            "    last_id, amiss = _present(work, changes)\n"
        ),
        (
            (
                "tests/property/test_cli_event_laws.py::test_every_entry_is_shown_once_an"
                "d_in_order_whenever_it_was_written"
            ),
        ),
    ),
    edit(
        "an-audit-shows-more-than-was-asked",
        "the newest three rows are four, or a thousand",
        "sdk/sie_cli/config/views.py",
        "limit=min(_PAGE, left)",
        "limit=min(_PAGE, number)",
        (
            (
                "tests/property/test_cli_event_laws.py::test_the_newest_rows_of_an_audit_"
                "are_as_many_as_were_asked_for"
            ),
        ),
    ),
    edit(
        "of-a-list-the-first-is-read",
        "an apply that prunes deletes all of a kustomization but its first document",
        "sdk/sie_cli/config/wrapped.py",
        ("            yield from unwrapped(item)\n        return"),
        ("            yield from unwrapped(item)\n            return"),
        (
            (
                "tests/property/test_cli_wrapped_laws.py::test_every_document_of_a_list_i"
                "s_read_in_its_order_as_the_plain_one"
            ),
        ),
    ),
    edit(
        "pruned-on-an-older-look",
        "what somebody added while files were applied stays, and nobody is told",
        "sdk/sie_cli/config/writes.py",
        (
            "    if_epoch = _begun_at(work, ask) if prune is not None else None\n"
            "    operations = _operations(work, documents, prune)"
        ),
        (
            "    operations = _operations(work, documents, prune)\n"
            "    if_epoch = _begun_at(work, ask) if prune is not None else None"
        ),
        (
            (
                "tests/property/test_cli_prune_laws.py::test_it_leaves_what_the_files_say"
                "_or_changes_nothing"
            ),
        ),
    ),
    edit(
        "pruning-takes-the-first-bundles",
        "a folder of models deletes the pool and bundles that sie-config brought",
        "sdk/sie_cli/config/writes.py",
        'return [row for row in rows if row["modified_epoch"] not in own]',
        "return list(rows)",
        ("tests/integration/test_cli_config.py",),
    ),
    edit(
        "idle-is-since-the-start",
        "workers are stopped while requests come",
        SCALING,
        "if cold or asked or demand.in_flight or demand.warm:",
        "if cold or demand.in_flight or demand.warm:",
        ("tests/property/test_scaling_laws.py",),
    ),
    edit(
        "whoever-answers-at-the-port-is-the-child",
        "a cluster is called ready while a stranger has the port of its gateway",
        "sdk/sie_cli/supervisor/child.py",
        "                    if answered and self._listens():",
        "                    if answered:",
        (
            "tests/integration/test_cli_children.py::test_a_stranger_that_answers_at_its_port_is_not_taken_for_it_and_is_named",
        ),
    ),
    edit(
        "a-failed-start-shows-an-older-log",
        "a start that failed is told with the errors of last week",
        "sdk/sie_cli/supervisor/child.py",
        "        self._log_start = os.lseek(log, 0, os.SEEK_END)\n",
        "        self._log_start = 0\n",
        (
            "tests/integration/test_cli_children.py::test_a_child_that_ends_early_shows_only_the_end_of_this_starts_log",
        ),
    ),
    edit(
        "the-broker-is-stopped-first",
        "what a dead supervisor left loses the jobs that it had accepted",
        "sdk/sie_cli/supervisor/stopping.py",
        'key=lambda process: DRAIN_ORDER.index(process.role.partition("-")[0])',
        'key=lambda process: -DRAIN_ORDER.index(process.role.partition("-")[0])',
        (
            "tests/integration/test_cli_children.py::test_what_a_dead_supervisor_left_is_stopped_each_once_in_the_order_of_a_drain",
        ),
    ),
    edit(
        "a-text-that-cannot-be-read-is-removed",
        "what somebody typed for minutes in another encoding is deleted",
        "sdk/sie_cli/config/editing.py",
        "        if text != self._original:",
        "        if text and text != self._original:",
        (
            "tests/integration/test_cli_config.py::test_whatever_was_left_of_the_text_is_kept_byte_for_byte",
        ),
    ),
    edit(
        "a-worker-hears-what-every-pool-is-asked",
        "a worker of one pool answers for another pool's, whose jobs are then run twice",
        "sdk/sie_cli/plan/broker.py",
        '*(f"sie.holding.{name}.>" for name in names),',
        '"sie.holding.>",',
        ("tests/property/test_cli_broker_laws.py",),
    ),
    edit(
        "one-profile-without-adapters-is-all",
        "an adapter is refused over a model that takes it in another profile",
        "shared/core/sie_core/backend_options.py",
        "any(takes_adapters(name) is not False for name in names)",
        "all(takes_adapters(name) is not False for name in names)",
        (
            "tests/unit/test_adapters_over_models.py::test_a_model_whose_backend_takes_no_adapters_is_told",
        ),
    ),
    edit(
        "an-unknown-backend-takes-no-adapters",
        "an adapter is refused over a model of somebody's own backend",
        "shared/core/sie_core/backend_options.py",
        "any(takes_adapters(name) is not False for name in names)",
        "any(takes_adapters(name) for name in names)",
        (
            "tests/unit/test_adapters_over_models.py::test_a_model_whose_backend_takes_no_adapters_is_told",
        ),
    ),
    edit(
        "a-folder-of-a-trainers-machine-is-a-model",
        "an adapter is refused for a model that nobody named",
        "sdk/sie_cli/models/bases.py",
        '(proposal.base if REPOSITORY.fullmatch(proposal.base) else "")',
        "proposal.base",
        (
            "tests/unit/test_adapters_over_models.py::test_words_for_another_kind_and_models_that_are_none_are_told",
        ),
    ),
    edit(
        "the-config-overrules-the-word",
        "an adapter is judged over, and written for, another model than was said",
        "sdk/sie_cli/models/bases.py",
        "named = wanted.adapter_of or (",
        "named = wanted.adapter_of if not proposal.base else (",
        ("tests/integration/test_inspected_adapters.py::test_the_three_ways_to_ask_say_the_same",),
    ),
    edit(
        "an-adapter-keeps-the-base-of-its-config",
        "an adapter is written for the folder of the machine that trained it",
        "sdk/sie_cli/models/bases.py",
        "    found = replace(found, proposal=replace(proposal, base=named))\n",
        "",
        (
            "tests/unit/test_adapters_over_models.py::test_a_plain_adapter_of_its_own_model_is_neither_refused_nor_open",
        ),
    ),
    edit(
        "the-word-for-adapters-is-passed-over",
        "a model is written that was meant as an adapter",
        "sdk/sie_cli/models/bases.py",
        '"leave it out") if wanted.adapter_of else found',
        '"leave it out") if False else found',
        (
            "tests/unit/test_adapters_over_models.py::test_words_for_another_kind_and_models_that_are_none_are_told",
        ),
    ),
    edit(
        "without-a-log-nothing-is-open",
        "who has no cluster is told that an adapter fits its model",
        "sdk/sie_cli/models/bases.py",
        'return _open(found, named, "no log is at hand")',
        "return found",
        ("tests/unit/test_adapters_over_models.py::test_what_cannot_be_read_here_is_told_as_open",),
    ),
    edit(
        "the-consoles-folders-are-the-workers",
        "the console refuses an adapter over files that no worker has",
        "sdk/sie_cli/models/bases.py",
        " or not opens_folders",
        "",
        ("tests/unit/test_adapters_over_models.py::test_what_cannot_be_read_here_is_told_as_open",),
    ),
    edit(
        "the-path-of-a-package-is-a-folder-here",
        "an adapter is judged over whatever lies where somebody stands",
        "sdk/sie_cli/models/bases.py",
        'if source["type"] != "path" or not',
        "if not",
        ("tests/unit/test_adapters_over_models.py::test_what_cannot_be_read_here_is_told_as_open",),
    ),
    edit(
        "every-model-pools",
        "an adapter is refused over a model that only scores, or the other way round",
        "sdk/sie_cli/models/bases.py",
        'pools = document["tasks"].get("encode") is None',
        'pools = document["tasks"].get("encode") is not None',
        (
            "tests/unit/test_adapters_over_models.py::test_a_pooler_may_be_adapted_where_nothing_reads_it",
        ),
    ),
    edit(
        "an-adapter-is-not-judged-over-its-model",
        "an adapter of another model is written, and its requests fail",
        "sdk/sie_cli/models/bases.py",
        "return _with(found, *refusals_over(found.opened, files, pools=pools))",
        "return found",
        (
            "tests/unit/test_adapters_over_models.py::test_a_model_of_tables_or_of_two_ways_takes_none",
        ),
    ),
    edit(
        "a-hub-that-is-away-ends-the-judging",
        "nothing can be added while the hub of its model is away",
        "sdk/sie_cli/models/bases.py",
        "except (OSError, SIEError) as error:",
        "except OSError as error:",
        ("tests/unit/test_adapters_over_models.py::test_a_hub_that_nobody_reaches_leaves_it_open",),
    ),
    edit(
        "an-edit-of-nothing-asks",
        "whoever only looks at an entity in the editor meets a conflict",
        "sdk/sie_cli/config/editing.py",
        "            if document is None or document == draft.document:",
        "            if document is None:",
        (
            "tests/integration/test_cli_config.py::test_an_edit_is_shown_written_once_and_nothing_where_nothing_differs",
        ),
    ),
    edit(
        "an-edit-that-says-the-same-is-a-change",
        "an edit that spells a default out is told as written",
        "sdk/sie_cli/config/editing.py",
        '    if not trial["changed"]:\n        return None\n',
        "",
        (
            "tests/integration/test_cli_config.py::test_an_edit_is_shown_written_once_and_nothing_where_nothing_differs",
        ),
    ),
    edit(
        "a-threshold-of-0-is-none",
        "a model is offered with the threshold of its library",
        "shared/catalog/sie_catalog/offers.py",
        "if row.threshold is not None:",
        "if row.threshold:",
        ("tests/unit/test_catalog.py::test_a_threshold_is_offered_whatever_it_is",),
    ),
    edit(
        "a-repository-is-its-id",
        "a model is fetched from a repository that has another name",
        "shared/catalog/sie_catalog/published.py",
        "return self.hub or self.id",
        "return self.id",
        (
            "tests/unit/test_catalog.py::test_an_offer_is_of_the_repository_at_the_commit_that_its_row_names",
        ),
    ),
    edit(
        "a-bundle-of-the-release-replaces-the-operators",
        "each start takes back how an operator changed a bundle",
        "sdk/sie_cli/supervisor/seeding.py",
        "            if response.status_code != httpx.codes.NOT_FOUND:\n                continue\n",
        "",
        (
            "tests/unit/test_bundle_environments.py::test_a_log_of_an_older_release_gets_the_bundle_and_one_that_nobody_has_is_refused",
        ),
    ),
)
