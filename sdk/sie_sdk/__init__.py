"""The client of the cluster: encode, score and extract, synchronous and asynchronous.

    from sie_sdk import SIEClient
    from sie_sdk.types import Item

    with SIEClient("http://127.0.0.1:8080") as client:
        vector = client.encode("all-MiniLM-L6-v2", Item(text="a lease"))["dense"]

`SIEConfigClient` reads and changes the configuration in the same way; it talks to sie-config.

It knows the wire and nothing else of the cluster. What a request says and what an answer means
is in `exchange`, which is pure; the two clients only send, wait and try again.
"""

from sie_sdk.async_client import SIEAsyncClient
from sie_sdk.async_config_client import SIEAsyncConfigClient
from sie_sdk.client import SIEClient
from sie_sdk.config_calls import Terms
from sie_sdk.config_client import SIEConfigClient
from sie_sdk.errors import (
    FixRequest,
    Later,
    OurFault,
    ProvisioningError,
    RequestError,
    ServerError,
    SIEConnectionError,
    SIEError,
    TimeRanOut,
    Untrusted,
)
from sie_sdk.types import Item

__all__ = [
    "FixRequest",
    "Item",
    "Later",
    "OurFault",
    "ProvisioningError",
    "RequestError",
    "SIEAsyncClient",
    "SIEAsyncConfigClient",
    "SIEClient",
    "SIEConfigClient",
    "SIEConnectionError",
    "SIEError",
    "ServerError",
    "Terms",
    "TimeRanOut",
    "Untrusted",
]
