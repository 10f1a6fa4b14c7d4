"""A misspelt model is told the nearest one: to who may read its name, at a bounded cost."""

import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any, cast

import httpx
import pytest
from tests.support.gateway_world import gateway_world, standard_resolver
from tests.support.served import served_gateway

from sie_core.near_names import LENGTH_MAX, NearNames
from sie_core.nearest import choice
from sie_core.resolver import Resolver
from sie_gateway.http.slips import Slips
from sie_runtime.access.access import Principal
from sie_schemas.errors import FixRequest, SIEError
from sie_sdk import SIEClient

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
LONGEST = "o/" + "y" * (LENGTH_MAX - 2)
NAMES = (MINILM, "BAAI/bge-m3", "intfloat/e5-base-v2", "reranker", "org/" + "x" * 180, LONGEST)
REMEMBERED_MAX = 256
ANYONE = Principal("", "", frozenset({"admin"}))
MANY = [f"org{number % 7}/family-{number % 90}-size-{number}" for number in range(10_000)]


class Named:
    """A resolver's names."""

    def __init__(self, names: Iterable[str]) -> None:
        self.models = dict.fromkeys(names)
        self.aliases = ("minilm",)


class Clock:
    """The time that the test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def slips_of(resolver: Callable[[], Named], **told: Any) -> Slips:
    """Of what it takes of a resolver."""
    return Slips(cast("Callable[[], Resolver]", resolver), **told)


def missing(name: str) -> FixRequest:
    return FixRequest(f"there is no model {name!r}", code="MODEL_NOT_FOUND")


def told(slips: Slips, spec: str, who: Principal = ANYONE) -> str | None:
    error = missing(spec)
    slips.tell(error, spec, who)
    _, found, rest = error.message.partition("; did you mean '")
    return rest.removesuffix("'?") if found else None


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("sentence-transformers/all-MiniLM-L6-v", MINILM),
        ("sentence-transformers/all-miniLM-L6-v2", MINILM),
        ("sentnce-transformers/all-MiniLM-L6-v2", MINILM),
        ("entence-transformers/all-MiniLM-L6-v2", MINILM),
        ("all-MiniLM-L6-v2", MINILM),
        ("openai/all-MiniLM-L6-v2", MINILM),
        ("sentence-transformers/all-MiniLM-L6-v2:default", MINILM),
        ("default:/sentence-transformers/all-MiniLM-L6-v1", MINILM),
        ("BAAI/bge_m3", "BAAI/bge-m3"),
        ("rerankr", "reranker"),
        ("minlm", "minilm"),
        (LONGEST[:-1] + "z", LONGEST),
        (LONGEST + "z", None),
        ("gpt-4", None),
        ("", None),
        ("x" * 5000, None),
        ("\x00\u202e\ud800", None),
    ],
)
def test_the_nearest_model_or_alias_is_named_and_nothing_far(given, meant):
    resolver = Named(NAMES)
    slips = slips_of(lambda: resolver, pause_s=0.0)
    assert told(slips, given) == meant


def test_a_name_that_is_nobodys_slip_is_not_kept():
    resolver = Named(NAMES)
    slips = slips_of(lambda: resolver, pause_s=0.0)
    tracemalloc.start()
    for number in range(20):
        assert told(slips, f"{number}" + "x" * 1_000_000) is None
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2_000_000


def test_a_flood_of_names_is_forgotten_in_time():
    """A name is told between two searches while it is remembered: of a flood the first is not."""
    resolver, clock = Named(NAMES), Clock()
    slips = slips_of(lambda: resolver, clock=clock, pause_s=1.0)
    for flood, is_remembered in ((REMEMBERED_MAX - 1, True), (REMEMBERED_MAX, False)):
        clock.now += 1000
        assert told(slips, "rerankr") == "reranker"
        for number in range(flood):
            clock.now += 1
            assert told(slips, f"nobody-{flood}-{number}") is None
        assert (told(slips, "rerankr") == "reranker") is is_remembered


@pytest.mark.parametrize("number", [0, 4321, 9999])
@pytest.mark.parametrize("place", [0, 5, -1])
def test_of_ten_thousand_the_one_with_one_letter_less_is_found(number, place):
    name = MANY[number]
    cut = place % len(name)
    given = name[:cut] + name[cut + 1 :]
    found = _names().nearest(given)
    assert found is not None
    letters = range(len(found))
    assert found == given or given in {found[:at] + found[at + 1 :] for at in letters}


_MADE: list[NearNames] = []


def _names() -> NearNames:
    if not _MADE:
        _MADE.append(NearNames(MANY))
    return _MADE[0]


@pytest.mark.parametrize(
    ("roles", "is_told"),
    [({"infer"}, False), ({"infer", "read"}, True), ({"metrics"}, False), ({"admin"}, True)],
)
def test_a_name_is_shown_to_who_may_read_the_models_alone(roles, is_told):
    resolver = Named(NAMES)
    slips = slips_of(lambda: resolver, pause_s=0.0)
    who = Principal("t", "t", frozenset(roles))
    assert (told(slips, "rerankr", who) == "reranker") is is_told


def test_other_refusals_are_left_as_they_are():
    slips = slips_of(lambda: Named(NAMES), pause_s=0.0)
    error = FixRequest("no", code="POOL_NOT_FOUND")
    slips.tell(error, "rerankr", ANYONE)
    assert error.message == "no"


def test_a_flood_of_unknown_names_is_searched_for_now_and_then_and_repeats_are_remembered():
    resolver, clock = Named(NAMES), Clock()
    slips = slips_of(lambda: resolver, clock=clock, pause_s=0.25)
    clock.now = 1.0
    assert told(slips, "rerankr") == "reranker"
    assert told(slips, "rerankerr") is None, "a search was made just now"
    assert told(slips, "rerankr") == "reranker", "it was searched for already"
    clock.now += 0.25
    assert told(slips, "rerankerr") == "reranker"


def test_names_are_sorted_anew_in_their_time_and_one_that_went_is_not_named():
    resolvers, clock = [Named(NAMES)], Clock()
    slips = slips_of(lambda: resolvers[-1], clock=clock, pause_s=0.0)
    assert told(slips, "rerankr") == "reranker"
    resolvers.append(Named(["other"]))
    assert told(slips, "rerankr") is None
    resolvers.append(Named([*NAMES, "newcomer"]))
    assert told(slips, "newcomr") is None, "they were sorted just now"
    clock.now += 1.0
    assert told(slips, "newcomr") == "newcomer"


TEXTS = {"model": "rankr", "input": ["a"]}
RANKS = {"model": "rankr", "query": "q", "documents": ["a"]}
ASKED: list[tuple[str, str, Any]] = [
    ("POST", "/v1/encode/rankr", {"items": [{"text": "a"}]}),
    ("POST", "/v1/score/rankr", {"query": {"text": "q"}, "items": [{"text": "a"}]}),
    ("POST", "/v1/embeddings", TEXTS),
    ("POST", "/v1/rerank", RANKS),
    ("POST", "/v2/rerank", RANKS),
    ("POST", "/v2/embed", {"model": "rankr", "texts": ["a"], "input_type": "search_query"}),
    ("POST", "/voyage/v1/rerank", RANKS),
    ("POST", "/voyage/v1/embeddings", TEXTS),
    (
        "POST",
        "/v1/ranking",
        {"model": "rankr", "query": {"text": "q"}, "passages": [{"text": "a"}]},
    ),
    ("POST", "/classify", TEXTS),
    ("POST", "/tei/rankr/rerank", {"query": "q", "texts": ["a"]}),
    ("POST", "/tei/rankr/embed", {"inputs": "a"}),
    ("GET", "/v1/models/rankr", None),
    ("GET", "/v1/configs/models/rankr", None),
    ("GET", "/v1/configs/models/rankr/status", None),
    ("GET", "/tei/rankr/info", None),
]


async def test_every_way_to_ask_for_a_model_tells_the_one_that_was_meant() -> None:
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            for method, path, body in ASKED:
                answer = await http.request(method, path, json=body)
                assert answer.status_code == 404, path
                assert "did you mean 'ranker'?" in answer.text, path


def test_the_error_of_the_sdk_tells_it_too() -> None:
    meant = pytest.raises(SIEError, match="did you mean 'ranker'")
    with served_gateway() as url, SIEClient(url) as client, meant:
        client.encode("rankr", {"text": "a"})


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"spec": "ranker:defualt"}, "did you mean 'default'? it has: default, fast"),
        ({"spec": "ranker", "pool": "defalt"}, "did you mean 'default'? there are: default"),
        ({"spec": "defualt:/ranker"}, "did you mean 'default'? there are: default"),
    ],
)
def test_a_misspelt_profile_pool_or_bundle_is_told_the_nearest(wanted, told):
    with pytest.raises(FixRequest) as refused:
        standard_resolver().resolve(**wanted)
    assert told in refused.value.message


def test_of_many_names_some_are_listed():
    told = choice("p77", [f"p{number:04}" for number in range(10_000)], "there are")
    assert told.endswith(", p0019 and 9980 more")
    assert len(told) < 250
