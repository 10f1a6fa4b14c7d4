"""Mutants of the kinds that somebody outside planted, and that a whole suite once passed.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["OUTSIDE_MUTANTS"]

FOLLOWER = "shared/runtime/sie_runtime/follower/follower.py"
SOURCE = "shared/runtime/sie_runtime/follower/log_source.py"
REPLICA = "shared/core/sie_core/replica/replica.py"
RESIDENTS = "data_plane/sie_server/execution/residents.py"

CONDITIONS = "tests/property/test_condition_laws.py"
RESIDENCY = "tests/property/test_residents_laws.py"

OUTSIDE_MUTANTS = (
    edit(
        "snapshot-is-kept-before-it-is-verified",
        "a forged snapshot is refused, and served after the next start",
        FOLLOWER,
        "        for command in self._replica.receive(event):\n",
        "        if isinstance(event, SnapshotArrived) and self._files is not None:\n"
        "            self._files.took_snapshot(event.snapshot, self._replica.registry)\n"
        "        for command in self._replica.receive(event):\n",
        ("tests/adversary/test_forged_positions.py",),
    ),
    edit(
        "fingerprint-is-the-body-alone",
        "a key used for a delete answers a create with it",
        "control_plane/sie_config/http/write_requests.py",
        "for part in (request.method, request.url.path, request.url.query):",
        "for part in (request.url.path,):",
        (CONDITIONS,),
    ),
    edit(
        "etag-leaves-out-the-log",
        "a condition on an entity of another log holds by chance",
        "control_plane/sie_config/writer/rules.py",
        "return f'\"{log_id8(log_id)}-{modified_epoch}\"'",
        "return f'\"00000000-{modified_epoch}\"'",
        (CONDITIONS,),
    ),
    edit(
        "quarantine-ends-with-the-next-entry",
        "a replica whose memory is damaged goes on from the damage",
        REPLICA,
        "if self.stopped is not None and self._refused_log is None:",
        'if self.stopped in ("forked", "halted"):',
        ("tests/property/test_replica_quarantine_laws.py",),
    ),
    edit(
        "refused-range-is-an-empty-one",
        "a replica whose token is wrong counts itself as current",
        SOURCE,
        '        response = await self._get("/v1/configs/log", query, None, headers=_NDJSON)\n',
        "        try:\n"
        '            response = await self._get("/v1/configs/log", query, None, headers=_NDJSON)\n'
        "        except SourceFailed:\n"
        "            return ()\n",
        ("tests/unit/test_log_source.py",),
    ),
    edit(
        "refused-row-of-a-group-is-skipped",
        "writes are acknowledged whose entry is not in the file",
        "control_plane/sie_config/log/log_file.py",
        '"INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)"',
        '"INSERT OR IGNORE INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)"',
        ("tests/unit/test_store_file.py",),
    ),
    edit(
        "published-before-the-brokers-word",
        "an answer says that the stream has what it refused",
        "control_plane/sie_config/stream/publisher.py",
        "                await self._stream.append(entry.epoch, data)\n",
        "                self._set_published(entry.epoch)\n"
        "                await self._stream.append(entry.epoch, data)\n",
        ("tests/unit/test_config_publisher.py",),
    ),
    edit(
        "redelivered-job-runs-at-the-config-of-now",
        "after a redelivery an answer names a revision that did not make it",
        "data_plane/sie_worker/intake/intake.py",
        "job, lambda: self._known.model(job.model_id, job.profile, job.model_revision)\n",
        "job,\n            lambda: (\n"
        "                self._known.current.resolve(f'{job.model_id}:{job.profile}')\n"
        "                if hold.delivery.delivery_count > 1 and self._known.current is not None\n"
        "                else self._known.model(job.model_id, job.profile, job.model_revision)\n"
        "            ),\n",
        ("tests/integration/test_worker_stories.py",),
    ),
    edit(
        "eviction-takes-what-is-pinned",
        "a pool's pinned model leaves for another's load",
        RESIDENTS,
        "[revision, *self._pinned], coming=coming",
        "[revision], coming=coming",
        (RESIDENCY,),
    ),
    edit(
        "eviction-takes-what-runs",
        "a model leaves while its batch is on the device",
        RESIDENTS,
        "            return (revision in running, density)\n",
        "            return (density,)\n",
        (RESIDENCY,),
    ),
)
