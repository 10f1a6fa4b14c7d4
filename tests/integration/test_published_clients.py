"""Published clients against a gateway, each in an environment of its own.

The rest of the list runs in `sie soak --clients`.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.clients_page import PAGE
from tests.support.published_clients import (
    CLIENTS,
    NoInterpreter,
    PublishedClient,
    clients_gateway,
    run_client,
)

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
CHOSEN = [client for client in CLIENTS if client.in_ci]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with clients_gateway() as address:
        yield address


@pytest.mark.timeout(900)
@pytest.mark.parametrize("client", CHOSEN, ids=lambda client: client.program)
def test_a_published_client_works_unchanged(client: PublishedClient, url: str) -> None:
    try:
        versions = run_client(client, url)
    except NoInterpreter as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    assert set(versions) == set(client.packages)


def test_the_published_sdks_program_runs_on_our_own(url: str) -> None:
    program = ROOT / "tests/clients/with_sie_sdk.py"
    subprocess.run([sys.executable, str(program), url], check=True)


def test_every_program_is_in_the_list() -> None:
    programs = {path.name for path in (ROOT / "tests/clients").glob("with_*.*")}
    assert programs == {client.file for client in CLIENTS}
    page = PAGE.read_text()
    assert [client.program for client in CLIENTS if f"`{client.file}`" not in page] == []
