"""The synchronous clients are the asynchronous ones, word for word."""

import pytest
from tests.support.sync_clients import CLIENTS, made


@pytest.mark.parametrize("path", CLIENTS, ids=lambda path: path.parent.name)
def test_the_synchronous_client_is_made_of_the_other(path):
    source = CLIENTS[path].read_text()
    assert path.read_text() == made(source), "python -m tests.support.sync_clients writes it"


def test_what_has_no_word_is_not_passed_over():
    source = next(iter(CLIENTS.values())).read_text()
    with pytest.raises(ValueError, match=r"no word for: asyncio\.timeout"):
        made(source + "\nasyncio.timeout(1)\n")
