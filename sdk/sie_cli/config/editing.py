"""Editing: one entity in the user's own editor, and back as a write on what was read.

*shell.* Owns one temporary file and runs one editor on it. Promises:

- Nothing is written which was not shown as a difference first.
- A change which somebody else made meanwhile is a conflict.
- A text which is refused is opened again with the reasons above it.
- What was typed is kept in its file whenever it did not become a change.
"""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sie_cli.config.config_rows import change_line
from sie_cli.show.printing import talk
from sie_runtime.texts.plain_yaml import dump_yaml, read_yaml
from sie_schemas.errors import FixRequest, SIEError
from sie_sdk import SIEConfigClient, Terms
from sie_sdk.config.calls import Kind

__all__ = ["edit", "editor_of"]

_DEFAULT_EDITOR: Final = "vi"
_CONFLICTS: Final = frozenset({"ENTITY_CONFLICT", "FORCE_REQUIRED", "PRECONDITION_FAILED"})
"""Refusals that no other text would mend."""


def editor_of() -> list[str]:
    """The command that edits a file: VISUAL, else EDITOR, else vi."""
    return shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or _DEFAULT_EDITOR)


def edit(
    client: SIEConfigClient, kind: Kind, key: str, terms: Terms, *, editor: Sequence[str]
) -> Mapping[str, Any] | None:
    """Let the user change one entity; the answer of the write, None where nothing differs.

    Raises `SIEError`; the text is then kept, and the user is told where.
    """
    found = client.get(kind, key)
    terms = replace(terms, if_match=found["etag"])
    draft = _Draft(kind, key, found["document"], editor)
    try:
        answer = _written(client, draft, terms)
    except SIEError as error:
        error.message += draft.kept()
        raise
    # Ctrl-C as well: what somebody typed for minutes is in no other place.
    except BaseException:
        known = "may have been changed, `sie history` tells" if draft.sent else "is as it was"
        talk(f"{kind} {key} {known}{draft.kept()}")
        raise
    draft.path.unlink()
    return answer


class _Draft:
    """The text between two looks of the user at it."""

    def __init__(
        self, kind: Kind, key: str, document: Mapping[str, Any], editor: Sequence[str]
    ) -> None:
        self.kind: Final[Kind] = kind
        self.key: Final = key
        self.document: Mapping[str, Any] = document
        self.sent = False
        """True from when the text is on its way until it is known to be refused."""
        self._editor = editor
        handle, name = tempfile.mkstemp(prefix=f"sie-{kind}-", suffix=".yaml")
        os.close(handle)
        self.path = Path(name)
        self._text = self._original = dump_yaml(dict(document))
        self.path.write_text(self._text, encoding="utf-8")

    def ask(self, problems: Sequence[str]) -> bool:
        """Open the editor with these problems above the text; whether the text was changed."""
        above = [f"{self.kind} {self.key}: save and leave to change it."]
        if problems:
            above = ["This is refused; mend it, or leave the text as it is to give up:", *problems]
        head = "".join(f"# {line}\n" for line in above)
        self.path.write_text(head + self._text, encoding="utf-8")
        try:
            done = subprocess.run([*self._editor, str(self.path)], check=False)
        except OSError as error:
            raise FixRequest(f"{self._editor[0]} does not start ({error}): set EDITOR") from error
        if done.returncode != 0:
            raise FixRequest(
                f"{self._editor[0]} ended with status {done.returncode}, so nothing is written"
            )
        before, self._text = self._text, _without_head(self._read())
        return self._text != before

    def parsed(self) -> Mapping[str, Any] | None:
        """The document of the text; None where the text is empty. Raises `FixRequest`."""
        values = [value for value in read_yaml(self._text, "the text") if value is not None]
        if not values:
            return None
        if len(values) > 1 or not isinstance(values[0], Mapping):
            raise FixRequest("the text is one document, a mapping")
        return values[0]

    def kept(self) -> str:
        """Words that tell where the text is kept; none where the user typed none: it is removed."""
        try:
            text = _without_head(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError):
            text = ""
        if text != self._original:
            return f"; your text is kept in {self.path}"
        self.path.unlink(missing_ok=True)
        return ""

    def _read(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FixRequest(f"{self.path} cannot be read: {error}") from error


def _written(client: SIEConfigClient, draft: _Draft, terms: Terms) -> Mapping[str, Any] | None:
    refused: FixRequest | None = None
    while draft.ask(_problems(refused)):
        try:
            document = draft.parsed()
            if document is None or document == draft.document:
                return None
            return _put(client, draft, document, terms)
        except FixRequest as error:
            draft.sent = False
            if error.code in _CONFLICTS:
                _explain(client, draft, error)
                raise
            refused = error
    if refused is not None:
        raise refused
    return None


def _put(
    client: SIEConfigClient, draft: _Draft, document: Mapping[str, Any], terms: Terms
) -> Mapping[str, Any] | None:
    # It refuses all that the write would: a text at fault goes back to the editor before a
    # difference is shown.
    trial = client.put(draft.kind, draft.key, document, replace(terms, dry_run=True))
    if not trial["changed"]:
        return None
    if terms.dry_run:
        return trial
    if "human" in trial:
        talk("\n".join(trial["human"]))
    draft.sent = True
    answer = client.put(draft.kind, draft.key, document, terms)
    return {**answer, "changes": [{"kind": draft.kind, "key": draft.key, "verb": "put"}]}


def _explain(client: SIEConfigClient, draft: _Draft, error: FixRequest) -> None:
    if error.code == "PRECONDITION_FAILED":
        newest = client.history(draft.kind, draft.key)[-1]
        talk(f"changed while you edited: {change_line(newest)}")


def _problems(error: SIEError | None) -> list[str]:
    if error is None:
        return []
    if not isinstance(error.details, list):
        return error.message.splitlines()
    return [f"{each['path'] or 'document'}: {each['message']}" for each in error.details]


def _without_head(text: str) -> str:
    lines = text.splitlines(keepends=True)
    first = next((at for at, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "".join(lines[first:])
