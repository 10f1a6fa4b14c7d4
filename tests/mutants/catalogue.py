"""Every mutant.

*types.*
"""

from typing import Final

from tests.mutants.data_plane_mutants import DATA_PLANE_MUTANTS
from tests.mutants.gleaned_mutants import GLEANED_MUTANTS
from tests.mutants.heart_mutants import HEART_MUTANTS
from tests.mutants.hunted_mutants import HUNTED_MUTANTS
from tests.mutants.loaded_mutants import LOADED_MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.option_mutants import OPTION_MUTANTS
from tests.mutants.outside_mutants import OUTSIDE_MUTANTS
from tests.mutants.overlooked_mutants import OVERLOOKED_MUTANTS
from tests.mutants.planted_data_mutants import PLANTED_DATA_MUTANTS
from tests.mutants.planted_mutants import PLANTED_MUTANTS
from tests.mutants.probed_mutants import PROBED_MUTANTS
from tests.mutants.replica_mutants import REPLICA_MUTANTS
from tests.mutants.sent_mutants import SENT_MUTANTS
from tests.mutants.sequencer_mutants import SEQUENCER_MUTANTS
from tests.mutants.serving_mutants import SERVING_MUTANTS
from tests.mutants.signing_mutants import SIGNING_MUTANTS
from tests.mutants.slipped_config_mutants import SLIPPED_CONFIG_MUTANTS
from tests.mutants.slipped_gateway_mutants import SLIPPED_GATEWAY_MUTANTS
from tests.mutants.slipped_request_mutants import SLIPPED_REQUEST_MUTANTS
from tests.mutants.slipped_worker_mutants import SLIPPED_WORKER_MUTANTS
from tests.mutants.sought_mutants import SOUGHT_MUTANTS
from tests.mutants.storage_mutants import STORAGE_MUTANTS
from tests.mutants.tired_mutants import TIRED_MUTANTS
from tests.mutants.unsurveyed_mutants import UNSURVEYED_MUTANTS
from tests.mutants.upkeep_mutants import UPKEEP_MUTANTS
from tests.mutants.weights_mutants import WEIGHTS_MUTANTS
from tests.mutants.writer_mutants import WRITER_MUTANTS

__all__ = ["MUTANTS"]

MUTANTS: Final[tuple[Mutant, ...]] = (
    *REPLICA_MUTANTS,
    *SIGNING_MUTANTS,
    *STORAGE_MUTANTS,
    *WRITER_MUTANTS,
    *DATA_PLANE_MUTANTS,
    *OUTSIDE_MUTANTS,
    *HUNTED_MUTANTS,
    *SOUGHT_MUTANTS,
    *UPKEEP_MUTANTS,
    *OPTION_MUTANTS,
    *SERVING_MUTANTS,
    *GLEANED_MUTANTS,
    *PLANTED_MUTANTS,
    *PLANTED_DATA_MUTANTS,
    *SLIPPED_WORKER_MUTANTS,
    *SLIPPED_CONFIG_MUTANTS,
    *SLIPPED_GATEWAY_MUTANTS,
    *SLIPPED_REQUEST_MUTANTS,
    *PROBED_MUTANTS,
    *UNSURVEYED_MUTANTS,
    *HEART_MUTANTS,
    *OVERLOOKED_MUTANTS,
    *TIRED_MUTANTS,
    *SENT_MUTANTS,
    *LOADED_MUTANTS,
    *WEIGHTS_MUTANTS,
    *SEQUENCER_MUTANTS,
)
