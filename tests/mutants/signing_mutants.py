"""Mutants of signed positions: who is believed, and what is signed.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["SIGNING_MUTANTS"]

TRUST = "shared/core/sie_core/trust.py"
REPLICA = "shared/core/sie_core/replica/replica.py"
BUFFER = "shared/core/sie_core/replica/early_entries.py"
SEQUENCER = "control_plane/sie_config/writer/sequencer.py"

MACHINE = "tests/property/test_replica_machine.py"
FORGED = "tests/adversary/test_forged_positions.py"
HISTORIES = "tests/unit/test_config_two_histories.py"

SIGNING_MUTANTS = (
    edit(
        "unsigned-entries-are-applied",
        "whoever can publish on the stream writes the configuration",
        BUFFER,
        "covered = run[: coverage.count]",
        "covered = run",
        (MACHINE,),
    ),
    edit(
        "any-key-may-follow",
        "an attacker names his own key, and is the writer from then on",
        TRUST,
        "        then = Trust(self.verify, public, self.public, entry.epoch)\n"
        "        return then if then.accepts(entry) else self\n",
        "        return Trust(self.verify, public)\n",
        (MACHINE,),
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
        "unlinked-entries-are-covered",
        "a stranger's entry goes in before the writer's next one",
        BUFFER,
        "if run and entry.prev_hash != run[-1].hash and trust.public is not None:",
        "if not trust.verify:",
        ("tests/unit/test_replica_stops.py",),
    ),
    edit(
        "unsigned-head-stops-a-replica",
        "anybody who speaks on the bus stops every gateway",
        REPLICA,
        "        if here is not None and not self._believes(head):\n",
        "        if here is not None and head.epoch < 0:\n",
        (MACHINE,),
    ),
    edit(
        "snapshot-needs-no-signature",
        "a stranger at the writer's address replaces the whole registry",
        TRUST,
        "return trust if trust.accepts(snapshot.entry) else None",
        "return trust",
        (MACHINE,),
    ),
    edit(
        "claims-need-no-signature",
        "one invented report stops all writes",
        "control_plane/sie_config/replicas/hearing.py",
        "if not self._sequencer.log_keys.vouch_for(claim.proof):",
        "if claim.proof is None:",
        (FORGED,),
    ),
    edit(
        "recovery-takes-what-nobody-signed",
        "a forged entry on the stream becomes history when the writer starts again",
        "control_plane/sie_config/start/recovery.py",
        "for entry in sequencer.log_keys.trust.proven(offered):",
        "for entry in offered:",
        (FORGED,),
    ),
    edit(
        "stream-bears-witness-unsigned",
        "a forged entry on the stream puts the writer into recovery",
        "control_plane/sie_config/stream/stream_witness.py",
        "return found if keys.vouch_for(found) else None",
        "return found",
        (FORGED,),
    ),
    edit(
        "end-of-a-group-is-not-signed",
        "what was written reaches nobody",
        SEQUENCER,
        "                self._sign_end(draft)\n",
        "",
        ("tests/property/test_cluster_machine.py",),
    ),
    edit(
        "wrong-key-writes",
        "a writer with another key forks every replica from itself",
        "control_plane/sie_config/keys/log_keys.py",
        "if self.trust.key_id != self.own.key_id:",
        "if not self.own.key_id:",
        (FORGED,),
    ),
    edit(
        "empty-stream-bears-no-witness",
        "a restored file is written on at epochs that were lost",
        "control_plane/sie_config/stream/stream_witness.py",
        "    if tip.last >= tip.first or tip.last <= head.epoch:\n",
        "    if tip.last >= 0:\n",
        (FORGED,),
    ),
)
