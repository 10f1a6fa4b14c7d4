"""Every mutant, by the room that it edits.

*types.*
"""

from typing import Final

from tests.mutants.cli import CLI_MUTANTS
from tests.mutants.config_doors import CONFIG_DOORS_MUTANTS
from tests.mutants.config_offline import CONFIG_OFFLINE_MUTANTS
from tests.mutants.config_pages import CONFIG_PAGES_MUTANTS
from tests.mutants.config_replicas import CONFIG_REPLICAS_MUTANTS
from tests.mutants.config_start import CONFIG_START_MUTANTS
from tests.mutants.config_stream import CONFIG_STREAM_MUTANTS
from tests.mutants.config_upkeep import CONFIG_UPKEEP_MUTANTS
from tests.mutants.core import CORE_MUTANTS
from tests.mutants.execution import EXECUTION_MUTANTS
from tests.mutants.execution_extraction import EXECUTION_EXTRACTION_MUTANTS
from tests.mutants.execution_weights import EXECUTION_WEIGHTS_MUTANTS
from tests.mutants.follower import FOLLOWER_MUTANTS
from tests.mutants.follower_log_source import FOLLOWER_LOG_SOURCE_MUTANTS
from tests.mutants.gateway_faces import GATEWAY_FACES_MUTANTS
from tests.mutants.gateway_fleet import GATEWAY_FLEET_MUTANTS
from tests.mutants.gateway_http import GATEWAY_HTTP_MUTANTS
from tests.mutants.gateway_leases import GATEWAY_LEASES_MUTANTS
from tests.mutants.gateway_request import GATEWAY_REQUEST_MUTANTS
from tests.mutants.gateway_request_deaths import GATEWAY_REQUEST_DEATHS_MUTANTS
from tests.mutants.gateway_request_dispatch import GATEWAY_REQUEST_DISPATCH_MUTANTS
from tests.mutants.gateway_request_jobs import GATEWAY_REQUEST_JOBS_MUTANTS
from tests.mutants.gateway_request_reruns import GATEWAY_REQUEST_RERUNS_MUTANTS
from tests.mutants.gateway_request_responses import GATEWAY_REQUEST_RESPONSES_MUTANTS
from tests.mutants.gateway_request_waiting import GATEWAY_REQUEST_WAITING_MUTANTS
from tests.mutants.ipc import IPC_MUTANTS
from tests.mutants.journal import JOURNAL_MUTANTS
from tests.mutants.log import LOG_MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.operations import OPERATIONS_MUTANTS
from tests.mutants.past import PAST_MUTANTS
from tests.mutants.past_audit import PAST_AUDIT_MUTANTS
from tests.mutants.replica import REPLICA_MUTANTS
from tests.mutants.runtime import RUNTIME_MUTANTS
from tests.mutants.runtime_bus import RUNTIME_BUS_MUTANTS
from tests.mutants.runtime_http import RUNTIME_HTTP_MUTANTS
from tests.mutants.runtime_words import RUNTIME_WORDS_MUTANTS
from tests.mutants.sdk import SDK_MUTANTS
from tests.mutants.sdk_exchange import SDK_EXCHANGE_MUTANTS
from tests.mutants.worker_device import WORKER_DEVICE_MUTANTS
from tests.mutants.worker_forms import WORKER_FORMS_MUTANTS
from tests.mutants.worker_intake import WORKER_INTAKE_MUTANTS
from tests.mutants.worker_jobs import WORKER_JOBS_MUTANTS
from tests.mutants.worker_pulling import WORKER_PULLING_MUTANTS
from tests.mutants.worker_scheduling import WORKER_SCHEDULING_MUTANTS
from tests.mutants.writer import WRITER_MUTANTS

__all__ = ["MUTANTS"]

MUTANTS: Final[tuple[Mutant, ...]] = (
    *CORE_MUTANTS,
    *REPLICA_MUTANTS,
    *FOLLOWER_MUTANTS,
    *FOLLOWER_LOG_SOURCE_MUTANTS,
    *RUNTIME_MUTANTS,
    *RUNTIME_WORDS_MUTANTS,
    *RUNTIME_BUS_MUTANTS,
    *RUNTIME_HTTP_MUTANTS,
    *LOG_MUTANTS,
    *JOURNAL_MUTANTS,
    *CONFIG_START_MUTANTS,
    *CONFIG_STREAM_MUTANTS,
    *WRITER_MUTANTS,
    *OPERATIONS_MUTANTS,
    *PAST_MUTANTS,
    *PAST_AUDIT_MUTANTS,
    *CONFIG_REPLICAS_MUTANTS,
    *CONFIG_DOORS_MUTANTS,
    *CONFIG_OFFLINE_MUTANTS,
    *CONFIG_PAGES_MUTANTS,
    *CONFIG_UPKEEP_MUTANTS,
    *GATEWAY_REQUEST_MUTANTS,
    *GATEWAY_REQUEST_WAITING_MUTANTS,
    *GATEWAY_REQUEST_DISPATCH_MUTANTS,
    *GATEWAY_REQUEST_DEATHS_MUTANTS,
    *GATEWAY_REQUEST_JOBS_MUTANTS,
    *GATEWAY_REQUEST_RESPONSES_MUTANTS,
    *GATEWAY_REQUEST_RERUNS_MUTANTS,
    *GATEWAY_LEASES_MUTANTS,
    *GATEWAY_FACES_MUTANTS,
    *GATEWAY_FLEET_MUTANTS,
    *GATEWAY_HTTP_MUTANTS,
    *WORKER_INTAKE_MUTANTS,
    *WORKER_PULLING_MUTANTS,
    *WORKER_JOBS_MUTANTS,
    *WORKER_SCHEDULING_MUTANTS,
    *WORKER_DEVICE_MUTANTS,
    *WORKER_FORMS_MUTANTS,
    *EXECUTION_WEIGHTS_MUTANTS,
    *EXECUTION_MUTANTS,
    *IPC_MUTANTS,
    *EXECUTION_EXTRACTION_MUTANTS,
    *CLI_MUTANTS,
    *SDK_MUTANTS,
    *SDK_EXCHANGE_MUTANTS,
)
