"""The users' files of a hub and of its leaf nodes, made of the rights that roles have.

`python -m tests.support.leaf_files` writes them.
"""

from pathlib import Path
from typing import Final

from sie_cli.plan.broker import hub_authorization, leaf_authorization

__all__ = ["FOLDER", "written"]

FOLDER: Final = Path(__file__).parents[2] / "deploy/leaf"


def written() -> dict[str, str]:
    """The text of each file, by its name."""
    told = (
        "# Written by `python -m tests.support.leaf_files`; its use: docs/operations/scale.md.\n"
        "# Of the pool `default`: workers of other pools want rights of their own.\n"
    )

    def password_of(role: str) -> str:
        return f"$SIE_NATS_PASSWORD_{role.upper()}"

    return {
        "hub-users.conf": told + hub_authorization(password_of),
        "leaf-users.conf": told + leaf_authorization(password_of),
    }


if __name__ == "__main__":
    for name, text in written().items():
        (FOLDER / name).write_text(text)
