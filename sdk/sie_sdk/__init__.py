"""The client of the cluster: encode, score and extract, synchronous and asynchronous.

    from sie_sdk import SIEClient
    from sie_sdk.types import Item

    with SIEClient("http://127.0.0.1:8080") as client:
        vector = client.encode("all-MiniLM-L6-v2", Item(text="a lease"))["dense"]

It knows the wire and nothing else of the cluster. What a request says and what an answer means
is in `exchange`, which is pure; the two clients only send, wait and try again.
"""

from sie_sdk.async_client import SIEAsyncClient
from sie_sdk.client import SIEClient
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
    "SIEClient",
    "SIEConnectionError",
    "SIEError",
    "ServerError",
    "TimeRanOut",
    "Untrusted",
]
