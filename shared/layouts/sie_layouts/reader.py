"""A reader of one model's files that keeps what it found, and what it refuses.

*pure.* Reading goes on after a refusal, so that a person hears everything at once. Values are
checked here: a file of a model is data from a stranger.
"""

import json
import posixpath
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from sie_layouts.facts import Fact, Files, Refusal

__all__ = ["Reader", "class_names", "joined"]

T = TypeVar("T")


def joined(folder: str, name: str) -> str:
    """The name of a file in a folder inside the model's; "" is the model's own.

    As files are named, whatever a list calls the folder: `./`, `0_Transformer/`. Without a name it
    is the folder's own.
    """
    path = posixpath.normpath(posixpath.join(folder, name))
    return "" if path == "." else path


def class_names(config: Mapping[str, Any]) -> list[str]:
    """The classes of a config.json's `architectures`; none where it holds no list of them."""
    classes = config.get("architectures")
    return [str(each) for each in classes] if isinstance(classes, list) else []


class Reader:
    """Owned by one reading; `facts` and `refusals` grow."""

    def __init__(self, files: Files) -> None:
        self.names = files.names()
        self.facts: list[Fact] = []
        self.refusals: list[Refusal] = []
        self._files = files

    def has(self, name: str) -> bool:
        """True if the model has this file."""
        return name in self.names

    def content(self, name: str) -> bytes | None:
        """A file's bytes, None where it is not there."""
        return self._files.read(name)

    def json(self, name: str) -> Any:
        """A file's JSON; None where it is not there, or refused because it does not read."""
        content = self.content(name)
        if content is None:
            return None
        try:
            # As text: the libraries read no byte order mark, and no other encoding.
            return json.loads(content.decode())
        except (ValueError, RecursionError) as error:
            self.refuse(name, f"is no JSON: {error}", "restore the file")
            return None

    def table(self, name: str) -> dict[str, Any]:
        """A file's JSON object; empty where it is not there."""
        value = self.json(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.refuse(name, "is no JSON object", "restore the file")
            return {}
        return value

    def fact(self, name: str, value: object, source: str) -> None:
        """Keep what a file says."""
        self.facts.append(Fact(name, str(value), source))

    def refuse(self, source: str, what: str, cure: str = "") -> None:
        """Keep why the folder is not run."""
        self.add(Refusal(source, what, cure))

    def add(self, refusal: Refusal) -> None:
        """Keep a refusal, once."""
        if refusal not in self.refusals:
            self.refusals.append(refusal)

    def refuse_others(
        self, name: str, table: Mapping[str, Any], known: Iterable[str], reader: str
    ) -> None:
        """Refuse each key that is not known: it could change every answer."""
        # Six kinds of folders answered with other vectors than their authors' library, each because
        # a file was read in part.
        for key in sorted(table.keys() - set(known)):
            self.refuse(
                f"{name}: {key}",
                f"is {_short(table[key])}, which is not done here: {reader} has no such key, or "
                "not in this release",
                "remove the key if the model does not need it",
            )

    def take(self, name: str, table: Mapping[str, Any], key: str, kind: type[T], absent: T) -> T:
        """A key's value of one type; `absent` where it is missing, null, or refused."""
        value = table.get(key)
        if value is None:
            return absent
        # Python takes True for a whole number; JSON does not.
        is_number = kind is int and isinstance(value, bool)
        if not isinstance(value, kind) or is_number:
            self.refuse(
                f"{name}: {key}",
                f"is {_short(value)}, and {_WORDS.get(kind, kind.__name__)} is wanted",
                "restore the file",
            )
            return absent
        return value

    def count(self, name: str, table: Mapping[str, Any], key: str) -> int:
        """A key's positive whole number; 0 where it is missing, or refused."""
        value = self.take(name, table, key, int, 0)
        if key not in table or value < 1:
            self.refuse(
                f"{name}: {key}",
                "is no whole number above 0, and one is wanted",
                "restore the file",
            )
            return 0
        return value


_WORDS = {bool: "true or false", int: "a whole number", str: "a text", dict: "an object"}


def _short(value: object) -> str:
    text = json.dumps(value, default=repr)
    return text if len(text) <= 60 else f"{text[:57]}…"
