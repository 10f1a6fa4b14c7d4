"""The path at which published code looks for `GatedModelError`; it is that of `sie_sdk.errors`.

*types.* Nothing else is here.
"""

from sie_sdk.errors import GatedModelError

__all__ = ["GatedModelError"]
