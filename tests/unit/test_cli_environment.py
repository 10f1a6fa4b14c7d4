"""The environment of a local cluster: variables of every role at once, and mistyped ones."""

import pytest
from tests.support.role_settings import ROLES, read_settings

from sie_cli.plan.environment import check_environment
from sie_runtime.settings import CLIENT_VARIABLES, SettingsError
from sie_schemas.errors import FixRequest

OTHERS = {"SIE_FOO": "1", "SIEVE": "1", "PATH": "/bin", "SIE_MODELS_DIR": "/x"}
"""Of other programs."""
NEEDED = {"SIE_CONFIG_DATA_DIR": "d", "SIE_SERVER_SOCKET": "s", "SIE_WORKER_SOCKET_PATH": "s"} | {
    f"SIE_{role}_REPLICA_DIR": "r" for role in ("GATEWAY", "WORKER")
}


def test_what_clients_read_stops_no_process_and_no_start():
    exported = dict.fromkeys(CLIENT_VARIABLES, "http://h:1") | OTHERS | NEEDED
    check_environment(exported)
    for role in ROLES:
        read_settings(role, exported)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SIE_CONFIG_ULR", "SIE_CONFIG_URL"),
        ("SIE_CONFIG_TOKN", "SIE_CONFIG_TOKEN"),
        ("SIE_GATWAY_PORT", "SIE_GATEWAY_PORT"),
        ("SIE_GATEWAY_PROT", "SIE_GATEWAY_PORT"),
        ("SIE_SERVER_TREADS", "SIE_SERVER_THREADS"),
        ("SIE_CLUSTER_READYS", "SIE_CLUSTER_READY_S"),
        ("SIE_CONFG_URL", "SIE_CONFIG_URL"),
        ("SIE_API_KEYS", "SIE_API_KEY"),
    ],
)
def test_a_mistyped_variable_is_refused_before_anything_starts(name, meant):
    with pytest.raises(FixRequest, match=f"{name} is not a setting; did you mean {meant}"):
        check_environment({name: "1"})


@pytest.mark.parametrize("role", ROLES)
def test_what_is_nobodys_is_refused_by_its_name(role):
    name = f"SIE_{role.upper()}_NO_SUCH_SETTING"
    with pytest.raises(FixRequest, match=f"{name} is not a setting"):
        check_environment({name: "1"})
    with pytest.raises(SettingsError, match=f"{name} is not a setting"):
        read_settings(role, {name: "1"} | NEEDED)
