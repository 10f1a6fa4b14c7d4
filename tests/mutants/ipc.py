"""Mutants of what goes between a sidecar and its execution process.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["IPC_MUTANTS"]

IPC_MUTANTS = (
    edit(
        "a-short-frame-waits-for-as-much-as-a-long-one",
        "a short batch behind a long one is read when the next one comes",
        "shared/schemas/sie_schemas/ipc/frames.py",
        "at, self._wanted = 0, _HEADER",
        "at = 0",
        (
            "tests/property/test_frame_laws.py::test_a_body_comes_with_its_last_byte_however_the_bytes_were_cut",
        ),
    ),
    edit(
        "a-peer-that-goes-takes-all",
        "batches of other sidecars are never answered once one of them has gone",
        "data_plane/sie_server/execution/batches.py",
        "        self._came = deque(each for each in self._came if each[0] is not connection)\n",
        "        self._came.clear()\n",
        (
            "tests/unit/test_server_batches.py::test_what_was_asked_for_by_a_peer_who_is_gone_is_not_run_and_what_others_asked_for_is",
        ),
    ),
    edit(
        "loaded-in-a-process-that-is-gone",
        "models count as loaded in a process that has just begun",
        "data_plane/sie_worker/execution/executor.py",
        "self._control = self._batches = self._hello = self.resident = None",
        "self._control = self._batches = self._hello = None",
        (
            "tests/integration/test_worker_executor.py::test_a_death_in_mid_batch_fails_what_was_out_and_a_new_process_is_found",
        ),
    ),
    edit(
        "batches-go-over-the-loop",
        "each batch waits for the loop of its process, too",
        "data_plane/sie_worker/execution/executor.py",
        "reply = await self._ask(self._batches, request, self._batch_timeout_s)",
        "reply = await self._ask(self._control, request, self._batch_timeout_s)",
        (
            "tests/integration/test_worker_executor.py::test_batches_go_over_a_connection_of_their_own_where_that_is_offered",
        ),
    ),
    edit(
        "a-stop-is-an-answer",
        "clients of a process that is replaced are told of an error",
        "data_plane/sie_worker/execution/executor.py",
        "if answer.code == ExecutorLost.code:",
        'if answer.code == "STOPPING":',
        (
            "tests/integration/test_worker_executor.py::test_what_a_process_that_stops_has_not_begun_is_as_lost_as_with_one_that_is_gone",
        ),
    ),
)
