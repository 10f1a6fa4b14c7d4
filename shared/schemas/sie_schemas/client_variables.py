"""Variables of the environment that clients read, whatever process runs beside them.

*types.* Some begin like the settings of a process (`SIE_CONFIG_URL` beside `SIE_CONFIG_PORT`), so
that whoever refuses an unknown setting has to know them.
"""

from typing import Final

__all__ = ["CLIENT_VARIABLES"]

CLIENT_VARIABLES: Final = frozenset(
    {
        "SIE_ACTOR",
        "SIE_API_KEY",
        "SIE_BASE_URL",
        "SIE_CA_FILE",
        "SIE_CLIENT_CERT_FILE",
        "SIE_CLIENT_KEY_FILE",
        "SIE_CONFIG_TOKEN",
        "SIE_CONTEXT",
        "SIE_CONFIG_URL",
        "SIE_NATS_PASSWORD",
        "SIE_NATS_USER",
        "SIE_PYTHON",
    }
)
