"""Mutants of operations: what a request asks for, worked out into commands.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["OPERATIONS_MUTANTS"]

_OPERATIONS = "control_plane/sie_config/writer/operations.py"
_WORKED_OUT = ("tests/property/test_operation_laws.py",)

OPERATIONS_MUTANTS = (
    edit(
        "a-full-batch-is-refused",
        "a batch of as many operations as are allowed is refused",
        _OPERATIONS,
        "if len(batch.operations) > operations_max:",
        "if len(batch.operations) >= operations_max:",
        _WORKED_OUT,
    ),
    edit(
        "a-patch-finds-what-was-deleted",
        "a patch after a delete of one batch brings the model back",
        _OPERATIONS,
        "        left[command.kind, command.key] = command.document if",
        "        if isinstance(command, Put):\n"
        "            left[command.kind, command.key] = command.document if",
        _WORKED_OUT,
    ),
    edit(
        "the-last-error-is-told",
        "a batch is refused for its last fault, with the code of another",
        _OPERATIONS,
        "first = first or error",
        "first = error",
        _WORKED_OUT,
    ),
    edit(
        "problems-beside-a-code-of-their-own",
        "a refusal that is none of fields lists fields",
        _OPERATIONS,
        'details=problems if first.code == "VALIDATION_ERROR" else first.details',
        "details=problems",
        _WORKED_OUT,
    ),
    edit(
        "a-fault-is-told-without-its-operation",
        "of a hundred operations nobody is told which one is wrong",
        _OPERATIONS,
        'field=problems[0]["path"] or None',
        "field=first.field",
        _WORKED_OUT,
    ),
    edit(
        "an-adapters-model-ends-at-the-first-slash",
        "the adapter of org/b is put on a model org",
        _OPERATIONS,
        'model_id, _, name = key.rpartition("/")',
        'model_id, _, name = key.partition("/")',
        _WORKED_OUT,
    ),
    edit(
        "a-delete-is-not-conditional",
        "a delete with If-Match takes what somebody else wrote since",
        _OPERATIONS,
        "return Delete(kind, key, expects)",
        "return Delete(kind, key, Expectation())",
        _WORKED_OUT,
    ),
    edit(
        "a-path-source-is-not-pinned",
        "workers of one revision load two sets of files",
        _OPERATIONS,
        "admit_document(kind, await pin(value))",
        "admit_document(kind, value)",
        _WORKED_OUT,
    ),
    edit(
        "a-secret-enters-the-log",
        "a token stands in the log for ever, and in every replica",
        _OPERATIONS,
        "    refuse_secrets(document)\n",
        "",
        _WORKED_OUT,
    ),
    edit(
        "a-patch-rests-on-nothing",
        "two patches at once: one of them is lost and both were accepted",
        _OPERATIONS,
        "        basis.append(Seen(kind",
        "        _ = (Seen(kind",
        _WORKED_OUT,
    ),
    edit(
        "options-of-one-profile-are-checked",
        "a misspelt option of a second profile is found by the worker",
        _OPERATIONS,
        'for name, profile in document["profiles"].items()',
        'for name, profile in list(document["profiles"].items())[:1]',
        _WORKED_OUT,
    ),
    edit(
        "an-etag-is-of-the-head",
        "a write that changed nothing gives an ETag that no later write may use",
        "control_plane/sie_config/http/write_answers.py",
        "etag(outcome.entry.log_id, outcome.modified_epoch)",
        "etag(outcome.entry.log_id, outcome.entry.epoch)",
        (
            "tests/property/test_history_laws.py::test_a_trial_foretells_the_write_and_leaves_no_trace",
        ),
    ),
    edit(
        "an-adapters-model-is-its-owner",
        "a dry run of an adapter does not name the replicas that have its model loaded",
        "control_plane/sie_config/http/write_answers.py",
        'key.rpartition("/")[0] for key in changed["adapter"]',
        'key.partition("/")[0] for key in changed["adapter"]',
        (
            "tests/property/test_history_laws.py::test_a_trial_foretells_the_write_and_leaves_no_trace",
        ),
    ),
    edit(
        "a-backup-replaces-what-came-meanwhile",
        "two backups at once under one name leave one, and nobody is told",
        "control_plane/sie_config/offline/backup.py",
        "        _check_free(name)\n        _finish",
        "        _finish",
        (
            "tests/unit/test_log_backup.py::test_a_file_that_comes_under_the_name_of_a_running_backup_is_not_replaced",
        ),
    ),
)
