"""Fixtures of a writer without a process, and of who calls it over HTTP.

*shell.* A module of tests takes them by `pytest_plugins = ["tests.support.config_plane"]`.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.support.config_writer import client_of, running

from sie_config.writer_process import ControlPlane


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """A control plane on an empty folder."""
    async with running(tmp_path) as plane:
        yield plane


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that plane."""
    async with client_of(plane) as client:
        yield client
