"""The diagrams of docs/: from each `docs/diagrams/*.dot` an SVG that says which source it is of.

`python -m tests.support.diagrams` makes the SVGs; it needs Graphviz.
"""

import hashlib
import subprocess
from pathlib import Path
from typing import Final

__all__ = ["FOLDER", "SOURCES", "drawn", "mark", "svg_of"]

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs/diagrams"
SOURCES: Final = sorted(FOLDER.glob("*.dot"))


def svg_of(source: Path) -> Path:
    """The path of the SVG of a source."""
    return source.with_suffix(".svg")


def mark(source: Path) -> str:
    """The comment in an SVG that tells what it was made from."""
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    return f"<!-- {source.name} sha256:{digest} -->"


def drawn(source: Path) -> str:
    """The SVG of a source as Graphviz draws it now, with its mark."""
    told = subprocess.run(
        ["dot", "-Tsvg", source], capture_output=True, encoding="utf-8", check=True
    ).stdout
    head, begin, picture = told.partition("<svg")
    return f"{head}{mark(source)}\n{begin}{picture}"


if __name__ == "__main__":
    for each in SOURCES:
        svg_of(each).write_text(drawn(each), encoding="utf-8")
