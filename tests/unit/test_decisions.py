"""Decision records: numbered without a gap, dated, in three parts, linked both ways and listed."""

import re
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

FOLDER = Path(__file__).parents[2] / "docs/decisions"
LETTERS = {"log.md": "L", "data_plane.md": "D", "project.md": "P"}
PARTS = ["Context", "Decision", "Consequence"]
LINK = r"\[([LDP]-\d{3})\]\(([^)]*)\)"


class Record(NamedTuple):
    """One section of a page of records."""

    page: str
    title: str
    """With its number: `L-001: …`."""
    body: str

    @property
    def number(self) -> str:
        return self.title.partition(":")[0]

    @property
    def address(self) -> str:
        """The link to it from another page of the folder."""
        return f"{self.page}#{re.sub(r'[^a-z0-9_ -]', '', self.title.lower()).replace(' ', '-')}"

    @property
    def dated(self) -> date:
        day = re.match(r"\n\*(\d{4}-\d\d-\d\d)\*\n\n", self.body)
        assert day, f"{self.number} has no date below its title"
        return date.fromisoformat(day[1])

    def links(self, word: str) -> list[tuple[str, str]]:
        """Number and address of each record that a line of this one begins with."""
        found = re.findall(rf"^\*\*{word}\*\*\s+{LINK}", self.body, re.MULTILINE)
        return [
            (number, f"{self.page}{where}" if where.startswith("#") else where)
            for number, where in found
        ]


def _records(page: str) -> list[Record]:
    sections = re.split(r"^## ", (FOLDER / page).read_text(), flags=re.MULTILINE)[1:]
    return [Record(page, *section.split("\n", 1)) for section in sections]


RECORDS = [record for page in LETTERS for record in _records(page)]
BY_ADDRESS = {record.address: record for record in RECORDS}


@pytest.mark.parametrize("page", LETTERS)
def test_numbers_have_no_gap_and_the_newest_comes_last(page):
    records = _records(page)

    assert len(records) > 10
    assert [record.number for record in records] == [
        f"{LETTERS[page]}-{number:03}" for number in range(1, len(records) + 1)
    ]
    assert all(earlier.dated <= later.dated for earlier, later in pairwise(records))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.number)
def test_a_record_has_a_title_and_three_parts(record):
    parts = re.findall(r"^\*\*(\w+)\.\*\* \S", record.body, re.MULTILINE)

    assert re.fullmatch(r"[LDP]-\d{3}: \S.*", record.title)
    assert parts == PARTS


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.number)
def test_a_record_that_is_superseded_and_the_later_one_name_each_other(record):
    for word, back in [("Superseded by", "Supersedes"), ("Supersedes", "Superseded by")]:
        assert record.body.count(f"**{word}**") == len(record.links(word))
        for number, address in record.links(word):
            other = BY_ADDRESS[address]
            assert other.number == number
            assert (record.number, record.address) in other.links(back)
            assert (record.dated <= other.dated) == (word == "Superseded by")


def test_every_link_to_a_record_leads_there():
    for record in RECORDS:
        for number, where in re.findall(LINK, record.body):
            address = f"{record.page}{where}" if where.startswith("#") else where
            assert BY_ADDRESS[address].number == number


def test_the_index_lists_every_record():
    listed = re.findall(r"^- \[(.+)\]\((\S+)\)$", (FOLDER / "index.md").read_text(), re.MULTILINE)

    assert listed == [(record.title, record.address) for record in RECORDS]
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted([*LETTERS, "index.md"])
