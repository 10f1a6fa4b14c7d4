"""The errors that the client raises: those of the cluster, by what the caller does about them.

*types.* `RequestError`: change the request. `Later`: send it again; the client did so already as
often as it was allowed to. `ServerError`: a defect on the other side. Every error has a stable
`code`, and `field` where a part of the request is at fault.
"""

from typing import TypeAlias

from sie_schemas.errors import FixRequest, Later, OurFault, SIEError, TimeRanOut, Untrusted

__all__ = [
    "FixRequest",
    "Later",
    "OurFault",
    "ProvisioningError",
    "RequestError",
    "SIEConnectionError",
    "SIEError",
    "ServerError",
    "TimeRanOut",
    "Untrusted",
]


class ProvisioningError(Later):
    """No worker was ready for the model in the time that the caller gave."""

    code = "PROVISIONING"


class SIEConnectionError(Later):
    """The service could not be reached, or the connection broke before the answer."""

    code = "NOT_READY"


RequestError: TypeAlias = FixRequest
ServerError: TypeAlias = OurFault
