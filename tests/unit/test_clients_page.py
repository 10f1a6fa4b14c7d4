"""The page of published clients is what its generator writes, but for what was seen."""

from tests.support.clients_page import HEAD, PAGE, TAIL
from tests.support.published_clients import CLIENTS


def test_the_words_of_the_page_are_the_generators_and_every_program_has_its_row() -> None:
    """The next run writes the page anew: what was only put into the page would be gone."""
    text = PAGE.read_text()
    assert text.startswith(HEAD)
    assert text.endswith(TAIL)
    assert [client.file for client in CLIENTS if f"`{client.file}`" not in text] == []
