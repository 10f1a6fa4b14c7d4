"""Libraries that are installed apart: their bounds do not fit those of the rest.

*shell.* They lie where `sie up --bundle` puts them, made by the same code from the same lock.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

from sie_catalog.bundles import APART
from sie_cli.plan.bundle_environment import BundleEnvironment, environment_of, make_environment
from sie_schemas.errors import FixRequest

__all__ = ["apart", "forgotten", "made"]


def made(bundle: str) -> BundleEnvironment:
    """The environment of a bundle. Where its packages cannot be had the test is skipped, and fails
    under CI=true."""
    try:
        return make_environment(bundle, say=lambda _: None)
    except FixRequest as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no environment of {bundle}: {error.message}", pytrace=False)
        pytest.skip(f"no environment of {bundle}")


def apart(name: str) -> ModuleType:
    """A library of such a bundle, in this process."""
    for bundle in APART:
        folder = str(made(bundle).packages)
        if folder not in sys.path:
            sys.path.append(folder)
            importlib.invalidate_caches()
    return importlib.import_module(name)


@contextmanager
def forgotten(name: str) -> Iterator[None]:
    """After it the library is not there any more: other tests count what there is."""
    try:
        yield
    finally:
        folders = {str(environment_of(bundle).packages) for bundle in APART}
        sys.path[:] = [each for each in sys.path if each not in folders]
        for module in [each for each in sys.modules if each.partition(".")[0] == name]:
            del sys.modules[module]
