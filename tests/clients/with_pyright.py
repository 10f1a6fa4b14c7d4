"""Pyright over the SDK as its users see it: the README's code, the examples, and what has types.

Where the stores of the examples are not installed, what they give is of any type.
"""

import json
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _stores_are_here() -> bool:
    return all(find_spec(name) is not None for name in ("chromadb", "qdrant_client", "apsw"))


def main() -> None:
    """Every file is right in pyright's standard mode."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        readme = (ROOT / "README.md").read_text()
        [code] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
        (folder / "readme.py").write_text(code)
        config = {
            "include": [str(folder), str(ROOT / "tests/typing"), str(ROOT / "examples/sdk")],
            "extraPaths": [str(ROOT / "sdk"), str(ROOT / "shared/schemas")],
            "typeCheckingMode": "standard",
            "reportMissingImports": _stores_are_here(),
            "pythonVersion": "3.11",
            "venvPath": str(Path(sys.prefix).parent),
            "venv": Path(sys.prefix).name,
        }
        (folder / "pyrightconfig.json").write_text(json.dumps(config))
        run = subprocess.run(
            [sys.executable, "-m", "basedpyright", "-p", str(folder)],
            text=True,
            capture_output=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout


if __name__ == "__main__":
    main()
