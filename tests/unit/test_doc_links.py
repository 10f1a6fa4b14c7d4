"""Every relative link of the manual leads to a file that is there, each anchor to a heading."""

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
FRONT = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"]
PAGES = [
    *[ROOT / name for name in FRONT if (ROOT / name).is_file()],
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCED = re.compile(r"^ *(```+|~~~+).*?^ *\1`*~* *$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`)(?:(?!\n\n).)+?(?<!`)\1(?!`)", re.DOTALL)
INLINE = re.compile(r"\]\(\s*<?([^\s<>()]+(?:\([^\s()]*\)[^\s<>()]*)*)>?(?:\s+[\"'][^)]*)?\s*\)")
DEFINED = re.compile(r"^ {0,3}\[[^\]\n]+\]:\s*<?([^\s<>]+)", re.MULTILINE)
TAG = re.compile(r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)=[\"']([^\"']+)[\"']")
HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
NAMED = re.compile(r"<[^>]+\b(?:id|name)=[\"']([^\"']+)[\"']")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def links(text):
    """The places in the repository that a page leads to. Code shows links and has none."""
    prose = CODE.sub("", FENCED.sub("", text))
    found = [link for pattern in (INLINE, DEFINED, TAG) for link in pattern.findall(prose)]
    return [link for link in found if not ELSEWHERE.match(link)]


def slug(heading):
    """The anchor that GitHub makes of a heading: its text, without marks, with hyphens."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"(?<!\w)(_{1,2})(\S(?:.*?\S)?)\1(?!\w)", r"\2", text)
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def anchors(text):
    prose = FENCED.sub("", text)
    taken: Counter[str] = Counter()
    found = set(NAMED.findall(prose))
    for heading in HEADING.findall(prose):
        name = slug(heading)
        found.add(f"{name}-{taken[name]}" if taken[name] else name)
        taken[name] += 1
    return found


def leads(page, link):
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if anchor and target.suffix == ".md" and target.exists():
        return anchor in anchors(target.read_text())
    return target.exists()


def broken(page):
    return [link for link in links(page.read_text()) if not leads(page, unquote(link))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert broken(page) == []


@pytest.mark.parametrize(
    "index", sorted((ROOT / "docs").rglob("index.md")), ids=lambda index: index.parent.name
)
def test_an_index_lists_every_page_of_its_folder(index):
    listed = {link.partition("#")[0] for link in links(index.read_text())}

    assert {page.name for page in index.parent.glob("*.md")} - {"index.md"} <= listed


def test_links_are_found_where_a_reader_sees_them():
    text = """
[a](a.md) and ![b](b.svg "title") and [c](<c.md#d>) and [web](https://example.org/x.md)
[![badge](badge.svg)](d.md) `[no](code.md)` [ref] <img src="e.svg">

[ref]: f.md

```sh
[no](fence.md)
```
"""

    assert sorted(links(text)) == sorted(
        ["a.md", "b.svg", "c.md#d", "badge.svg", "d.md", "e.svg", "f.md"]
    )


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Containers and Kubernetes", "containers-and-kubernetes"),
        ("What is proved, and how", "what-is-proved-and-how"),
        ("`sie log` and its file", "sie-log-and-its-file"),
        ("1.0.0 (2025-01-02)", "100-2025-01-02"),
        ("A - B", "a---b"),
        ("The [page](page.md) of *a_b* and _c_", "the-page-of-a_b-and-c"),
        ("Größe", "größe"),
    ],
)
def test_a_heading_has_the_anchor_that_github_gives_it(heading, anchor):
    assert slug(heading) == anchor


def test_equal_headings_are_numbered_and_code_has_none():
    text = "# Fixed\n\n## Fixed\n\n```sh\n# comment\n```\n\n<a id='here'></a>\n\n## Fixed ##\n"

    assert anchors(text) == {"fixed", "fixed-1", "fixed-2", "here"}


def test_what_leads_nowhere_is_told(tmp_path):
    (tmp_path / "there.md").write_text("# A heading\n")
    page = tmp_path / "page.md"
    page.write_text("# P\n[1](there.md#a-heading) [2](gone.md) [3](there.md#no) [4](#p) [5](#q)\n")

    assert broken(page) == ["gone.md", "there.md#no", "#q"]
