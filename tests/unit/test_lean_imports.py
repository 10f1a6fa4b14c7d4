"""Processes import what they run: torch's compiler comes with its first use, and whole."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading
import sie_server.main
sie_server.main.import_backends()
left_out = {"scipy", "torch._dynamo.convert_frame", "torch.distributed.tensor", "torch._inductor"}
print(*sorted(left_out & sys.modules.keys()))

import torch
from transformers.generation.continuous_batching.cache import PagedAttentionCache
from transformers.utils import is_scipy_available, is_torch_distributed_available
assert not is_scipy_available() and not is_torch_distributed_available()
assert torch._dynamo.disallow_in_graph(torch.sub) is torch.sub
told = []
def ask():
    try:
        told.append(callable(torch._dynamo.reset))
    except AttributeError as error:
        told.append(error)
threads = [threading.Thread(target=ask) for _ in range(4)]
for each in threads:
    each.start()
for each in threads:
    each.join()
assert told == [True] * 4, told
doubled = torch.compile(lambda row: row * 2, backend="eager", fullgraph=True)
assert doubled(torch.ones(2)).tolist() == [2, 2]
reduced = torch.compile(lambda row: torch.sub(row, 1), backend="eager", fullgraph=True)
try:
    reduced(torch.ones(2))
except torch._dynamo.exc.Unsupported:
    print("heard")
"""


# It imports torch, all backends and the compiler: sixteen seconds of a core, which a busy
# machine shares out.
@pytest.mark.timeout(600)
def test_torchs_compiler_is_imported_by_the_first_who_compiles_and_hears_what_was_marked():
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=570
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["", "heard"]


@pytest.mark.parametrize(
    ("main", "left_out"),
    [
        ("sie_worker.main", {"rich", "pygments"}),
        ("sie_cli.supervisor.cluster", {"rich", "pygments"}),
        # What migrates a file of an older release; a log that is up to date needs none of it.
        ("sie_config.main", {"sqlite_utils", "numpy", "dateutil"}),
        ("sie_config.offline.verification", {"sqlite_utils", "numpy", "dateutil"}),
    ],
)
def test_a_process_imports_nothing_that_it_does_not_run(main, left_out):
    program = (
        f"import sys, {main}, httpx\n"
        f"print(*sorted({left_out!r} & sys.modules.keys()))\n"
        "httpx.Client().close()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=110
    )

    assert ran.stdout.split() == []
