"""A file of tokens for a test: each name is the token itself."""

import json
from pathlib import Path
from typing import Any

from sie_runtime.access.access import hash_of

__all__ = ["bearer", "tokens_file"]


def tokens_file(path: Path, **roles: tuple[str, ...] | dict[str, Any]) -> Path:
    """Write the file whole, for processes read it again: by name the roles, or more fields of the
    grant."""
    grants = [
        {"name": name, "sha256": hash_of(name.encode())}
        | (given if isinstance(given, dict) else {"roles": given})
        for name, given in roles.items()
    ]
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps({"tokens": grants}))
    return new.replace(path)


def bearer(name: str | None) -> dict[str, str]:
    """The headers of who holds that token; without one where there is no name."""
    return {"authorization": f"Bearer {name}"} if name else {}
