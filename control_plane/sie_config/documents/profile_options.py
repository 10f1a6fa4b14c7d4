"""The options of a model's profiles, checked when they are written.

*pure.* As far as they are known here, which a built-in backend's are. The worker that loads the
model checks those of another package's backend.
"""

from collections.abc import Mapping
from typing import Any

from sie_core.backend_options import of_backend
from sie_core.options import profile_problems
from sie_schemas.errors import FixRequest

__all__ = ["check_profile_options"]


def check_profile_options(document: Mapping[str, Any]) -> None:
    """Refuse options that a built-in backend does not take. Raises VALIDATION_ERROR, which lists
    every problem of the model document."""
    problems = [
        {"path": f"profiles.{name}.options.{option}", "message": problem}
        for name, profile in document["profiles"].items()
        if (declared := of_backend(profile["backend"])) is not None
        for option, problem in profile_problems(
            profile["options"], declared, backend=profile["backend"]
        )
    ]
    if problems:
        first = problems[0]
        raise FixRequest(
            f"{first['path']}: {first['message']}"
            + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""),
            code="VALIDATION_ERROR",
            field=first["path"],
            details=problems,
        )
