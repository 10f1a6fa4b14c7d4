"""The reference pages tell all that there is, of both kinds of client."""

import inspect

from tests.support.reference_pages import pages

import sie_sdk
from sie_sdk import SIEAsyncClient, SIEClient, types


def test_every_method_type_and_error_has_its_place() -> None:
    page = pages()["reference/sdk.md"]
    methods = [name for name, _ in inspect.getmembers(SIEClient, inspect.isfunction)]
    for name in methods:
        assert name.startswith("_") or f"### SIEClient.{name}\n" in page, name
    for name in types.__all__:
        kind = getattr(types, name)
        # Another name of a type is told with the type.
        is_its_own = inspect.isclass(kind) and kind.__name__ == name
        assert not is_its_own or f"### {name}\n" in page, name
    for name in sie_sdk.__all__:
        found = getattr(sie_sdk, name)
        is_error = inspect.isclass(found) and issubclass(found, Exception)
        assert not is_error or found.__name__ != name or f"`{name}`" in page, name


def test_what_is_said_of_a_client_is_true_of_the_other() -> None:
    def told(client: type) -> dict[str, tuple[list[str], str | None]]:
        return {
            name: (list(inspect.signature(member).parameters), inspect.getdoc(member))
            for name, member in vars(client).items()
            if inspect.isfunction(member) and not name.startswith("_")
        }

    assert told(SIEAsyncClient) == told(SIEClient)
