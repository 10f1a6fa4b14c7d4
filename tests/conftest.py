"""The tools of every test: Hypothesis profiles, and tools that a test may need.

Profile `dev` by default; `ci` under CI=true, with fixed seeds and more examples. Two shrink
nothing: `mutants` under the mutant zoo; `generated`, with few examples, under the generated one.
A test marked `@pytest.mark.tool("name")` is skipped where that program is missing, and fails under
CI=true. A test whose module holds answers to the bounds of their type is marked `numeric`.
"""

import os
import shutil

# Before anything imports torch or numpy. Two test processes on two cores had four threads, which
# waited for each other more than they computed: the conformance of encoders took 67 s of processor
# time and was not done, and 38 s with one. A worker's device has one by default, too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, Phase, settings

pytest_plugins = ["tests.support.live_cluster"]

_SLOW_MACHINES = [HealthCheck.too_slow]

settings.register_profile(
    "dev", max_examples=50, deadline=None, suppress_health_check=_SLOW_MACHINES
)
settings.register_profile(
    "ci",
    max_examples=300,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=_SLOW_MACHINES,
)
settings.register_profile(
    "long", max_examples=5000, deadline=None, print_blob=True, suppress_health_check=_SLOW_MACHINES
)
settings.register_profile(
    "mutants",
    max_examples=150,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=_SLOW_MACHINES,
)
settings.register_profile("generated", settings.get_profile("mutants"), max_examples=40)
_IN_CI = os.environ.get("CI") == "true"
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if _IN_CI else "dev"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or under CI fail, a test whose tool is missing."""
    for marker in item.iter_markers("tool"):
        tool = marker.args[0]
        if shutil.which(tool) is None:
            if _IN_CI:
                pytest.fail(f"missing tool: {tool}", pytrace=False)
            pytest.skip(f"missing tool: {tool}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `sie soak` runs under every instruction set."""
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item.module, "assert_same"):
            item.add_marker("numeric")
