"""Habits of other tools: words that hands type by themselves, and what to type here.

*pure.* Promises one short clause for a command, an option or a kind of kubectl, helm or git that is
none here. Of any other word it says nothing.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["habit_of", "kind_habit"]

_READ: Final = "`sie get KIND` lists, `sie describe KIND NAME` tells all of one"
_UNDO: Final = "`sie history` shows the changes, `sie revert HEAD~1` undoes the last"
_WRITE: Final = "`sie apply -f FILE` writes, `sie edit KIND NAME` changes one"
_CONTEXTS: Final = "`sie context ls`, `sie context use NAME`, `sie context add NAME --url URL`"
_PROCESSES: Final = "`sie replicas` and `sie top` show those of a cluster, `sie status` a folder's"
_SCALE: Final = "workers follow demand: `sie up --workers N`, or the chart's values, bound them"
_REQUESTS: Final = (
    "requests go to a gateway: `POST /v1/encode/MODEL`, score or extract, or the SDK's "
    "`SIEClient().encode(MODEL, TEXT)`"
)
_FETCH: Final = "`sie add ORG/NAME` registers a model; its first request fetches it"
_NOUNS: Final = ("adapters", "adapter", "pools", "pool", "bundles", "bundle", "aliases", "alias")
"""Kinds that are no command by themselves; `models` is one."""
_COMMANDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("list", "ls", "show-all", "cat"), _READ),
    **dict.fromkeys(("rollout", "rollback", "undo", "reset"), _UNDO),
    **dict.fromkeys(("create", "replace", "patch", "set", "put", "install", "upgrade"), _WRITE),
    **dict.fromkeys(("config", "use-context", "login", "auth", "use"), _CONTEXTS),
    **dict.fromkeys(("ps", "cluster-info", "nodes", "pods"), _PROCESSES),
    **dict.fromkeys(("scale", "autoscale"), _SCALE),
    **dict.fromkeys(("help", "man"), "`sie --help`, or --help after a command"),
    **dict.fromkeys(("rm", "remove", "uninstall"), "`sie delete KIND NAME`"),
    **dict.fromkeys(("start", "run", "serve"), "`sie up` starts a cluster on this machine"),
    **dict.fromkeys(("stop", "kill"), "`sie down` stops the cluster of a folder"),
    **dict.fromkeys(("exec", "attach", "port-forward", "debug"), "`sie logs`, `sie doctor`"),
    **dict.fromkeys(("encode", "embed", "score", "rerank", "extract", "query", "ask"), _REQUESTS),
    **dict.fromkeys(("pull", "download", "load", "fetch"), _FETCH),
    "replay": "`sie log replay` computes the registry at an epoch",
    "search": "`sie models search WORD` looks in the models that this release knows",
    "log-level": "`sie logs --level warning`",
    "explain": "`sie get KIND NAME -o yaml` shows one in use",
    **{kind: f"`sie get {kind}` lists them" for kind in _NOUNS},
}
_BELOW: Final[Mapping[tuple[str, str], str]] = {
    **{
        ("models", word): "`sie get models` lists those of a cluster, `sie models search` all known"
        for word in ("list", "ls", "get", "show")
    },
    **{
        ("log", word): "`sie status` shows a folder's processes, `sie log doctor` examines a log"
        for word in ("status", "check", "verify", "info")
    },
    **{
        ("log", word): "`sie history` shows the changes, `sie show EPOCH` one"
        for word in ("show", "list", "ls", "history", "tail")
    },
}
_OPTIONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("-n", "--namespace", "-A", "--all-namespaces"),
        "there are no namespaces: --context or --url names a cluster, -l pool=NAME chooses",
    ),
    **dict.fromkeys(("-w", "--watch"), "`sie watch` shows changes as they are made"),
    **dict.fromkeys(("-R", "--recursive"), "a folder is read with all below it: leave it out"),
    **dict.fromkeys(
        ("-k", "--kustomize"), "`kustomize build FOLDER | sie apply -f -` takes an overlay"
    ),
    **dict.fromkeys(("--limit", "--max", "--tail"), "-n says how many"),
    **dict.fromkeys(("--to", "--to-revision", "--revision"), "`sie revert EPOCH` wants no option"),
    **dict.fromkeys(("--for", "--for-condition"), "`sie wait --effective`"),
    **dict.fromkeys(("-y", "--yes", "--force-conflicts"), "nothing asks here: --dry-run tries"),
    **dict.fromkeys(("--kubeconfig", "--server", "-s", "--host"), "--url or --context"),
    "--message": "-m says why",
}
_OF_ONE: Final[Mapping[tuple[str, str], str]] = {
    ("delete", "-f"): "`sie apply --prune -f FOLDER` removes what its files leave out",
    ("delete", "--file"): "`sie apply --prune -f FOLDER` removes what its files leave out",
    ("status", "--url"): "it is of a folder's cluster, of another is `sie doctor`",
    ("status", "--context"): "it is of a folder's cluster, of another is `sie doctor`",
    ("down", "--url"): "it stops the cluster of a folder: --data FOLDER",
    ("dlq", "--url"): "--context NAME, or --nats-url with its broker",
}
_KINDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("pod", "node", "worker", "gateway", "deployment", "deploy", "po", "no", "process"),
        _PROCESSES,
    ),
    "replica": "`sie replicas` shows them",
    **dict.fromkeys(("event", "ev"), "`sie events` shows them"),
    **dict.fromkeys(("job", "letter", "queue"), "`sie dlq ls` and `sie top` show them"),
    **dict.fromkeys(("namespace", "ns"), "pools part a cluster: `sie get pools`"),
    **dict.fromkeys(("context", "cluster"), _CONTEXTS),
    **dict.fromkeys(("lora", "loras"), "`sie get adapters` shows them"),
    **dict.fromkeys(("token", "secret", "user"), "`sie token ls --file FILE` shows them"),
    **dict.fromkeys(("log", "entry", "entrie", "revision"), "`sie history` shows them"),
    "profile": "they stand in models: `sie get models -o wide`",
}
_NO_OPTION: Final = re.compile(r"No such option: (-[^\s=]+)")
_NO_COMMAND: Final = re.compile(r"No such command '([^']+)'")
_FIRST: Final = frozenset({"-o", "--output", "--url", "--data", "--context"})
"""Options that belong to commands, and are typed before them."""


def habit_of(arguments: Sequence[str], message: str) -> str:
    """A clause for a wrong command line, by the message that tells of it; empty where there is
    none."""
    if (found := _NO_COMMAND.search(message)) is not None:
        word, group = found[1].lower(), arguments[0] if arguments else ""
        # Below one of our commands the word means something else: letters, tokens or contexts.
        return (_COMMANDS.get(word) if group == found[1] else _BELOW.get((group, word))) or ""
    if (found := _NO_OPTION.search(message)) is None:
        return ""
    option, command = found[1], arguments[0] if arguments else ""
    if command.startswith("-"):
        return f"{option} comes after the command" if option in _FIRST else ""
    return _OF_ONE.get((command, option)) or _OPTIONS.get(option, "")


def kind_habit(name: str) -> str:
    """A clause for a word that is no kind."""
    word = name.lower()
    return _KINDS.get(word) or _KINDS.get(word.removesuffix("s"), "")
