"""The work of the configuration sub-commands, on the config client.

*shell.* Owns the client of one command. Data goes to stdout, talk to stderr; what a command came to
is its exit status, and an error is one line.
"""

import getpass
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sie_cli.access.config_client import AttendedClient
from sie_cli.access.named_cluster import Target, target_of
from sie_cli.config.config_rows import name_of, trial_line
from sie_cli.show.exit_statuses import INTERRUPTED, LATE, WRONG, exit_status, line_of, line_of_os
from sie_cli.show.printing import Form, print_difference, print_lines, print_value, talk
from sie_cli.show.progress import progress
from sie_cli.texts.relative_moments import is_by_the_clock, moment_of
from sie_core.counted import counted
from sie_core.nearest import nearest
from sie_schemas.api.log import Waited
from sie_schemas.api.past import EntityShown
from sie_schemas.errors import FixRequest, Later, SIEError
from sie_sdk import Terms
from sie_sdk.config.calls import Kind

__all__ = ["Ask", "Work", "run_work"]

_MEANT_MAX: Final = 3
"""Names that might have been meant, beside the refusal in one line."""
_PROBLEMS_SHOWN: Final = 50
"""Of a refusal: one screen. Who mends these asks again anyway."""
_WAIT_STEP_S: Final = 1.0
"""Between two looks at how many replicas have a change."""


@dataclass(frozen=True, slots=True)
class Ask:
    """The terms on which a write was asked for."""

    reason: str = ""
    force: str = ""
    dry_run: bool = False
    wait: bool = False
    timeout_s: float = 60.0
    if_epoch: int | None = None

    def terms(self, *, if_epoch: int | None = None) -> Terms:
        """The same for the client."""
        return Terms(
            reason=self.reason,
            force=self.force,
            dry_run=self.dry_run,
            if_epoch=self.if_epoch if self.if_epoch is not None else if_epoch,
        )


def run_work(
    url: str,
    output: str,
    command: Callable[["Work"], int],
    *,
    data: Path | None = None,
    context: str = "",
) -> int:
    """Do one command against a sie-config; gives the exit status.

    `url` names it, or `data`, the folder of a local cluster, or a `context`; else the environment,
    or the context in use.
    """
    found = ""
    try:
        target = target_of(url, data, context)
        found = target.context
        work = Work(target, output)
        with work.client:
            return command(work)
    except SIEError as error:
        talk(line_of(error) + _of_context(error, found))
        # A message tells the first problem already.
        if isinstance(error.details, list) and len(error.details) > 1:
            for problem in error.details[:_PROBLEMS_SHOWN]:
                talk(f"  {problem['path'] or 'document'}: {problem['message']}")
        return exit_status(error)
    except BrokenPipeError:
        # Whoever read from us has enough: `main` ends the process without a word.
        raise
    except OSError as error:
        talk(line_of_os(error))
        return WRONG
    except KeyboardInterrupt:
        return INTERRUPTED


def _of_context(error: SIEError, name: str) -> str:
    """Words for who typed no address, and does not know which one does not answer."""
    if not name or not isinstance(error, Later) or error.answered_status:
        return ""
    return f" (the context {name!r}: `sie context ls` shows where it leads)"


class Work:
    """One command: a client, and the form of its output."""

    def __init__(self, target: Target, output: str) -> None:
        """Raises `FixRequest` for what is no address."""
        self._target = target
        self.form = Form(output)
        try:
            self.client = AttendedClient(target.url, token=target.token, actor=_actor())
        except ValueError as error:
            raise FixRequest(f"{error}: mend --url or SIE_CONFIG_URL") from error
        except ImportError as error:
            raise FixRequest(f"the proxy of the environment cannot be used: {error}") from error

    def entity(self, kind: Kind, name: str, *, at: str | None = None) -> EntityShown:
        """One entity. Raises `FixRequest` with the name that was meant, where there is none."""
        with self.naming(kind, name, at=at):
            return self.client.get(kind, name, at=at)

    @contextmanager
    def naming(self, kind: Kind, name: str, *, at: str | None = None) -> Iterator[None]:
        """Around what is done with one entity: where there is none, the error has the name that
        was meant."""
        try:
            yield
        except FixRequest as error:
            if not error.code.endswith("NOT_FOUND"):
                raise
            raise self.meant(error, kind, name, (at,)) from error

    def meant(
        self, error: FixRequest, kind: Kind, name: str, moments: Sequence[str | None]
    ) -> FixRequest:
        """The refusal of a name that is not there, with the name that was meant, of those at some
        moments; None is now. An alias means its model. Raises `SIEError`."""
        if "*" in name:
            return FixRequest(f"{error.message}: names have no wildcard, -l chooses")
        rows = [row for at in moments for row in self.client.entities(kind, at=at)]
        # Requests take an alias for its model. What is written is written of the model.
        aliased = {
            repr(name_of(kind, row)) for row in rows if name in row["document"].get("aliases", ())
        }
        meant = _meant(name, sorted({name_of(kind, row) for row in rows}))
        text = f"{error.message}; did you mean {meant}?" if meant else error.message
        if aliased:
            text = f"{name!r} is an alias of {' and '.join(sorted(aliased))}: say the model"
        return FixRequest(text, code=error.code, field=error.field, details=error.details)

    def at(self, text: str) -> str | None:
        """The epoch or time that a text means; None where none is given. Raises `SIEError`."""
        if not text:
            return None
        # Of two clocks that differ, the one that wrote the log counts.
        by_clock = is_by_the_clock(text)
        now = self.client.now() if by_clock else datetime.now().astimezone()
        return moment_of(text, now=now, head=lambda: int(self.client.head()["epoch"]))

    def told(self, answer: Mapping[str, Any], ask: "Ask | None" = None) -> int:
        """Print the answer of a write, once replicas have it where that was asked; the status."""
        if self._target.context:
            # A write tells where it went: the name was not typed with it.
            talk(f"at {self._target.context}, {self._target.url}")
        if ask is not None and ask.wait and not ask.dry_run:
            goal = {"epoch": answer["epoch"], "timeout_s": ask.timeout_s}
            answer = {**answer, "convergence": self.waited(goal)}
        if self.form.is_whole:
            print_value(answer, self.form)
        elif self.form == Form.NAME:
            print_lines([f"{row['kind']}/{row['key']}" for row in answer["changes"]])
        elif answer.get("dry_run"):
            print_difference(answer["human"] or ["nothing would change"])
            talk(trial_line(answer))
        elif not answer["changed"]:
            print_lines([f"nothing differs at epoch {answer['epoch']}"])
        else:
            lines = [f"{row['verb']} {row['kind']}/{row['key']}" for row in answer["changes"]]
            print_lines([*lines, f"epoch {answer['epoch']}"])
        return self.convergence(answer["convergence"]) if "convergence" in answer else 0

    def waited(self, goal: Mapping[str, Any]) -> Waited:
        """Wait for replicas, in steps: whoever looks on sees how many have come."""
        ends_at = time.monotonic() + goal["timeout_s"]
        with progress("waiting for replicas") as told:
            while True:
                left_s = max(0.0, ends_at - time.monotonic())
                step = {**goal, "timeout_s": min(left_s, _WAIT_STEP_S)}
                found = self.client.wait(**step)
                told(found["satisfied"], found["selected"])
                # The last step was as long as the time left: to ask again would be a wait of
                # nothing.
                if found["reached"] or left_s <= _WAIT_STEP_S:
                    return found

    def convergence(self, found: Mapping[str, Any]) -> int:
        """Tell how many replicas are there, and who is not; the status."""
        talk(f"{found['satisfied']} of {counted(found['selected'], 'replica')} {found['until']}")
        for each in found["waiting_for"]:
            talk(f"  {each['role']} {each['id']}: {each['cause']}")
        return 0 if found["reached"] else LATE


def _meant(name: str, names: Sequence[str]) -> str:
    """The names that begin or end so, else the one that is spelt most like it."""
    found = [each for each in names if each.startswith(name) or each.endswith(f"/{name}")]
    near = nearest(name, names)
    return " or ".join(map(repr, found[:_MEANT_MAX] or ([near] if near else [])))


def _actor() -> str:
    try:
        return os.environ.get("SIE_ACTOR") or getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a user that its system has no name for.
        return f"uid {os.getuid()}"
