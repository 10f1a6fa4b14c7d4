"""docs/errors.md, made from the table of codes.

`python -m tests.support.errors_page` writes it.
"""

from pathlib import Path
from typing import Final

from sie_schemas.error_guide import GUIDE
from sie_schemas.errors import CODES

__all__ = ["PAGE", "page"]

PAGE: Final = Path(__file__).resolve().parents[2] / "docs/errors.md"
_HEAD: Final = """# Errors

Every error of every process has this body; the code is in the header `X-SIE-Error-Code` too:

```json
{"detail": {"code": "MODEL_NOT_FOUND", "message": "…", "field": "model", "details": …}}
```

A code is stable, a message is not. *Again* is what `Retry-After` says, in seconds;
where it is empty, sending the same again changes nothing. Words: [glossary](glossary.md).
`python -m tests.support.errors_page` writes this page from `sie_schemas/error_guide.py`.

| Code | Status | Again, s | Cause | Cure |
|---|--:|--:|---|---|
"""


def page() -> str:
    """The page as it ought to be."""
    rows = sorted(CODES.items(), key=lambda item: (item[1].status, item[0]))
    return _HEAD + "".join(
        f"| `{code}` | {rule.status} | "
        f"{'' if rule.retry_after_s is None else f'{rule.retry_after_s:g}'} | "
        f"{GUIDE[code].cause} | {GUIDE[code].cure} |\n"
        for code, rule in rows
    )


if __name__ == "__main__":
    PAGE.write_text(page())
