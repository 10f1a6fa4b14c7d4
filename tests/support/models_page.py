"""docs/models.md, made from the catalog.

`python -m tests.support.models_page` writes it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sie_catalog.bundles import APART, BUNDLES
from sie_catalog.families import FAMILIES
from sie_catalog.offers import reason_not, verified
from sie_catalog.published import Published, published

__all__ = ["PAGE", "page"]

PAGE: Final = Path(__file__).resolve().parents[2] / "docs/models.md"
_HEAD: Final = """# Which models

The catalog holds {known} published models. Of these, {offered} are registered by `sie up` and
fetched when they are first asked for; {pinless} more need their commit, which `sie add` finds. Any
other model of a layout that is read here is [added by its name](guides/add_model.md). Words:
[glossary](glossary.md).

*Verified* says what our answers were compared with. `weights`: the reference on these very weights.
`layout`: the reference on a small random model of this architecture, in the conformance suites.
`none`: nothing yet. *Inferred*: run by its published form, and the files of the pinned commit were
not read ([why]({why})).

The facts are those that others published of a model; no repository was read
for this page. A worker reads a model's own files when it loads it, and refuses what it does not do
as the authors' library does.

A model of the *bundle* `gliner` wants workers of that bundle: `sie up --bundle gliner`
([install](operations/install.md#a-bundle-with-packages-of-its-own)). Where its repository has no
tokenizer of its own, its first request says so, and `sie add NAME --replace` pins the one that it
names. GLiNER2, GLiFormer and what extracts relations are left out:
[why](decisions/data_plane.md#d-083-gliner2-and-relations-are-left-out).

The licence is in each repository: `sie inspect ORG/NAME` shows it.

`sie models search WORDS` searches this list. `python -m tests.support.models_page` writes this page
from `sie_catalog`.
"""
_WHY: Final = (
    "decisions/data_plane.md#d-125-gte-qwen2-stella-and-gritlm-are-run-by-what-their-authors-code-"
    "does-not-by-running-it"
)
_BROUGHT: Final = """Their commits are not known here: `sie catalog adapters` asks the hub for them,
and registers those of the models that a log holds, as one entry. Then `options={"lora": NAME}`
works, with the last part of the repository as the name.

"""
_COLUMNS: Final = "| Model | Answers | Tokens | Architecture | Verified |\n|---|---|--:|---|---|\n"


def page() -> str:
    """The page as it ought to be."""
    rows = published()
    offered = [row for row in rows if not reason_not(row)]
    pinless = [row for row in rows if not row.commit and not FAMILIES[row.family].refused]
    text = _HEAD.format(known=len(rows), offered=len(offered), pinless=len(pinless), why=_WHY)
    text += "\n## Registered\n\n" + _COLUMNS + "".join(_line(row) for row in offered)
    text += "\n## Without a commit\n\n`sie add` finds it.\n\n" + _COLUMNS
    text += "".join(_line(row) for row in pinless)
    text += "\n## Adapters that others published\n\n" + _BROUGHT + "".join(_adapters(rows))
    text += "\n## Not run by this release\n\n| Reason | Models |\n|---|---|\n"
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if FAMILIES[row.family].refused:
            reasons.setdefault(FAMILIES[row.family].refused, []).append(row.id)
    for reason, names in sorted(reasons.items()):
        text += f"| {reason} | {', '.join(names)} |\n"
    return text


def _line(row: Published) -> str:
    answers = [f"{output} {size}" for output, size in row.outputs.items()]
    answers += [task for task in row.tasks if task != "encode"]
    family = FAMILIES[row.family]
    words = family.words.split(",")[0]
    apart = [name for name in APART if family.backend in BUNDLES[name].backends]
    words += "".join(f" (bundle {name})" for name in apart)
    proof = f"{verified(row)}{', inferred' if family.inferred else ''}"
    return f"| {row.id} | {', '.join(answers)} | {row.tokens or ''} | {words} | {proof} |\n"


def _adapters(rows: tuple[Published, ...]) -> Iterator[str]:
    for row in rows:
        for adapter in row.adapters:
            yield f"- {row.id}: `sie add {adapter} --adapter-of {row.id}`\n"


if __name__ == "__main__":
    PAGE.write_text(page())
