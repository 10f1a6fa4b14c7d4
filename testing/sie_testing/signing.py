"""The writer's key in tests and simulations: the same in every run, so that a run can be repeated.

*pure.* `STRANGER` is a key that no log of theirs ever brings.
"""

from typing import Final

from sie_core.trust import Trust
from sie_runtime.signing import SigningKey, verify

__all__ = ["FIRST_CONTACT", "PINNED", "STRANGER", "WRITER_KEY"]

WRITER_KEY: Final = SigningKey.of_seed(b"the writer of every test's log !")
STRANGER: Final = SigningKey.of_seed(b"somebody who is not that writer!")
FIRST_CONTACT: Final = Trust(verify)
"""A reader who knows no key yet."""
PINNED: Final = Trust(verify, WRITER_KEY.public)
"""A reader who was given the writer's key."""
