"""A program whose packages are not installed says which extra brings them."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
START = """
import sys
from importlib import import_module
missing, module, function, *sys.argv = sys.argv[1:]
sys.modules[missing] = None
getattr(import_module(module), function)()
"""


@pytest.mark.parametrize(
    ("program", "arguments", "missing", "extra"),
    [
        ("sie", ["--help"], "typer", "cli"),
        ("sie", ["up"], "nats", "local"),
        ("sie", ["status"], "nats", "local"),
        ("sie", ["simulate", "--seed", "1"], "fastapi", "testing"),
        ("sie", ["simulate", "--seed", "1"], "aiosqlite", "testing"),
        ("sie", ["simulate", "--seed", "1", "--requests"], "tokenizers", "local"),
        ("sie-config", ["--help"], "fastapi", "config"),
        ("sie-gateway", ["--help"], "prometheus_client", "gateway"),
        ("sie-worker", ["--help"], "tokenizers", "worker"),
        ("sie-server", ["--help"], "torch", "server"),
        ("sie-server-spawner", ["--help"], "torch", "server"),
    ],
)
def test_what_is_missing_is_one_line_with_its_extra(program, arguments, missing, extra):
    module, function = SCRIPTS[program].split(":")
    run = subprocess.run(
        [sys.executable, "-c", START, missing, module, function, program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    words = f"{program}: the package {missing} is not installed: pip install 'sie-cluster[{extra}]'"
    assert (run.returncode, run.stderr.strip()) == (1, words)


def test_every_program_of_the_wheel_starts_by_it():
    assert {value.partition(":")[0] for value in SCRIPTS.values()} == {"sie_runtime.programs"}
