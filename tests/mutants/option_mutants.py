"""Mutants of options, and of jobs that a broker forgot: what is asked for and not given.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["OPTION_MUTANTS"]

LAWS = ("tests/property/test_option_laws.py",)
WORDING = ("tests/unit/test_worker_wording.py",)

OPTION_MUTANTS = (
    edit(
        "an-unknown-option-is-passed-over",
        "a misspelt adapter is answered by the base",
        "shared/core/sie_core/options.py",
        "            if other_names and not any(each.name == name for each in declared):\n",
        "            if not any(each.name == name for each in declared):\n",
        LAWS,
    ),
    edit(
        "a-worker-checks-no-options",
        "an option of a backend in another package is passed over",
        "data_plane/sie_worker/forms/tokenizing.py",
        "    check_options(job, loaded)\n",
        "    assert check_options\n",
        WORDING,
    ),
    edit(
        "a-cut-vector-keeps-its-length",
        "cosines of vectors with fewer dimensions are no cosines",
        "data_plane/sie_worker/forms/answers.py",
        "    return np.ascontiguousarray(cut / np.maximum(lengths, np.float32(_NORM_MIN)))\n",
        "    return np.ascontiguousarray(cut)\n",
        WORDING,
    ),
    edit(
        "an-instruction-is-dropped",
        "a text is read without the instruction that came with it",
        "data_plane/sie_worker/forms/wording.py",
        '            raise _placeless(job, side, "leave it out, or give a template of your own")\n',
        "            instruction = None\n",
        WORDING,
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
        "auto-halves-every-family",
        "on a GPU the vectors of T5 are those of another text",
        "data_plane/sie_server/device/choice.py",
        "    if family not in halved:\n",
        "    if not halved:\n",
        ("tests/unit/test_server_choice.py",),
    ),
    edit(
        "what-a-broker-forgot-is-left",
        "requests wait out their time for jobs that a broker forgot as it was killed",
        "data_plane/sie_gateway/main.py",
        "        bus.on_reconnect(parts.lost_jobs.suspect)\n",
        "        assert parts.lost_jobs\n",
        ("tests/adversary/test_broker_killed.py",),
    ),
)
