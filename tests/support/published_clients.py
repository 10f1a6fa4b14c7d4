"""Published clients: each in an environment of its own, which is made once and kept.

An environment is a folder named by what is in it, below `SIE_CLIENT_ENVIRONMENTS`, else in the
user's cache. A client without requirements is one that this environment has. A program that ends in
`.mjs` runs on Node, with packages from its registry.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.gateway_world import model
from tests.support.installed import built_wheel
from tests.support.served import served_gateway

__all__ = [
    "CLIENTS",
    "ClientFailed",
    "NoInterpreter",
    "PublishedClient",
    "clients_gateway",
    "run_agents_tools",
    "run_client",
    "run_examples",
]

ROOT = Path(__file__).parents[2]
_PROGRAMS = ROOT / "tests/clients"
_VERSIONS = """
import json, sys
from importlib.metadata import version
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""
_OWN_VARIABLES = ("PYTHONPATH", "VIRTUAL_ENV", "SIE_BASE_URL", "SIE_API_KEY")


class NoInterpreter(Exception):
    """This machine has no Python, or no Node, that the client runs on."""


class ClientFailed(AssertionError):
    """The program did not end well: what it said."""


@dataclass(frozen=True)
class PublishedClient:
    """A program below `tests/clients`, the packages that it shows, and what it needs."""

    program: str
    packages: tuple[str, ...]
    requirements: tuple[str, ...] = ()
    python: tuple[int, int] = (3, 11)
    in_ci: bool = False
    vocabulary: str = ""
    """The file of the vocabulary whose token ids it sends, below its packages."""
    is_node: bool = False

    @property
    def file(self) -> str:
        """The name of its program."""
        return f"{self.program}.{'mjs' if self.is_node else 'py'}"


def _of_sie(name: str, *beside: str) -> PublishedClient:
    """A published integration over the published SDK."""
    return PublishedClient(
        f"with_sie_{name}",
        (f"sie-{name}", "sie-sdk", *beside),
        (f"sie-{name}=={_SIE}", f"sie-sdk=={_SIE}"),
        python=(3, 12),
    )


_SIE = "0.10.1"
_CL100K = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
"""The name of OpenAI's vocabulary cl100k_base in tiktoken's folder."""
_NPM = {
    "openai": "6.49.0",
    "cohere-ai": "8.1.0",
    "@langchain/openai": "1.5.8",
    "@langchain/core": "1.4.0",
    "@langchain/cohere": "1.0.5",
    "ai": "6.0.326",
    "@ai-sdk/openai-compatible": "2.0.92",
    "@ai-sdk/openai": "3.0.141",
    "@ai-sdk/cohere": "3.0.63",
    "@huggingface/inference": "4.13.30",
    "@ai-sdk/mistral": "3.0.69",
    "@ai-sdk/togetherai": "2.0.84",
    "@mistralai/mistralai": "2.7.0",
    "together-ai": "0.52.0",
    "voyageai": "0.4.0",
}
_STORES = ("chromadb==1.5.9", "qdrant-client==1.20.0", "sqlite-vec==0.1.9", "apsw==3.54.1.0")
_SDK_NEEDS = ("httpx>=0.28,<0.29", "msgspec>=0.20,<0.23", "numpy>=1.26,<3", "rfc8785>=0.1.4,<0.2")
_PYRIGHT = ("basedpyright==1.40.2", *_SDK_NEEDS)
_EXAMPLES = (*_PYRIGHT, *_STORES)
CLIENTS = (
    PublishedClient("with_openai", ("openai",), in_ci=True),
    PublishedClient("with_huggingface_hub", ("huggingface_hub",), in_ci=True),
    PublishedClient("with_cohere", ("cohere",), ("cohere==7.3.1",), in_ci=True),
    PublishedClient("with_sie_sdk", ("sie-sdk",), (f"sie-sdk=={_SIE}",), (3, 12), in_ci=True),
    _of_sie("langchain", "langchain-core"),
    _of_sie("llamaindex", "llama-index-core"),
    _of_sie("haystack", "haystack-ai"),
    _of_sie("dspy", "dspy"),
    _of_sie("crewai", "crewai"),
    _of_sie("chroma", "chromadb"),
    _of_sie("qdrant", "qdrant-client"),
    _of_sie("weaviate", "weaviate-client"),
    _of_sie("lancedb", "lancedb"),
    _of_sie("mcp", "mcp"),
    PublishedClient(
        "with_langchain",
        ("langchain-openai", "langchain-cohere"),
        # It downloads a vocabulary, which llama-index-core has in its wheel.
        ("langchain-openai==1.7.2", "langchain-cohere==0.6.0", "llama-index-core==0.14.25"),
        python=(3, 12),
        vocabulary=f"llama_index/core/_static/tiktoken_cache/{_CL100K}",
    ),
    PublishedClient("with_litellm", ("litellm",), ("litellm==1.110.2",), python=(3, 12)),
    PublishedClient(
        "with_llama_index",
        (
            "llama-index-embeddings-openai-like",
            "llama-index-embeddings-text-embeddings-inference",
            "llama-index-postprocessor-tei-rerank",
            "llama-index-embeddings-nvidia",
            "llama-index-postprocessor-cohere-rerank",
            "llama-index-postprocessor-jinaai-rerank",
            "llama-index-postprocessor-nvidia-rerank",
        ),
        (
            "llama-index-embeddings-openai-like==0.4.0",
            "llama-index-embeddings-text-embeddings-inference==0.6.0",
            "llama-index-postprocessor-tei-rerank==0.6.0",
            "llama-index-embeddings-nvidia==0.6.0",
            "llama-index-postprocessor-cohere-rerank==0.10.0",
            "llama-index-postprocessor-jinaai-rerank==0.6.0",
            "llama-index-postprocessor-nvidia-rerank==0.7.0",
        ),
        python=(3, 12),
    ),
    PublishedClient(
        "with_haystack",
        (
            *("haystack-ai", "huggingface-api-haystack", "cohere-haystack", "jina-haystack"),
            *("mistral-haystack", "nvidia-haystack"),
        ),
        (
            "haystack-ai==3.4.1",
            "huggingface-api-haystack==3.1.0",
            "cohere-haystack==11.0.0",
            "jina-haystack==2.0.1",
            "mistral-haystack==3.0.0",
            "nvidia-haystack==3.0.0",
        ),
        python=(3, 12),
    ),
    PublishedClient(
        "with_infinity", ("infinity-client",), ("infinity-client==0.0.78",), python=(3, 12)
    ),
    PublishedClient("with_tei", ("tei-client",), ("tei-client==0.2.4",), python=(3, 12)),
    PublishedClient(
        "with_frameworks",
        ("agno", "mem0ai", "semantic-kernel", "pydantic-ai-slim"),
        (
            *("agno==3.1.10", "mem0ai==2.2.1", "semantic-kernel==1.45.0"),
            *("pydantic-ai-slim[openai,cohere]==2.62.0", "aiohttp", "openai", "cohere"),
        ),
        python=(3, 12),
    ),
    PublishedClient(
        "with_providers",
        ("voyageai", "langchain-nvidia-ai-endpoints", "rerankers"),
        ("voyageai==0.5.0", "langchain-nvidia-ai-endpoints==1.5.0", "rerankers[api]==0.10.0"),
        python=(3, 12),
    ),
    PublishedClient(
        "with_hosts",
        ("mistralai", "together", "xinference-client"),
        ("mistralai==1.5.2", "together==3.1.1", "xinference-client==4.1.0"),
        python=(3, 12),
    ),
    PublishedClient("with_mistral", ("mistralai", "ollama"), ("mistralai==3.7.0", "ollama==0.6.3")),
    PublishedClient(
        "with_js",
        tuple(_NPM),
        tuple(f"{name}@{version}" for name, version in _NPM.items()),
        is_node=True,
    ),
    PublishedClient("with_pyright", ("basedpyright",), _PYRIGHT, (3, 12), in_ci=True),
    PublishedClient(
        "with_chroma", ("chromadb",), ("chromadb==1.5.9", "openai==2.54.0"), python=(3, 12)
    ),
)


def run_examples(url: str) -> list[str]:
    """Run the SDK's examples against a cluster with the demo's models, and pyright over them with
    the stores' types; their names. Blocking. Raises `NoInterpreter`, `ClientFailed`."""
    python = _environment(PublishedClient("examples", (), _EXAMPLES, (3, 12)))
    _run([str(python), str(_PROGRAMS / "with_pyright.py")], None)
    names: list[str] = []
    with tempfile.TemporaryDirectory() as made:
        # Our own wheel is of the moment, and not kept in the environment.
        with zipfile.ZipFile(built_wheel(Path(made))) as wheel:
            wheel.extractall(Path(made) / "sdk")
        environ = dict(os.environ) | {"PYTHONPATH": f"{made}/sdk", "SIE_BASE_URL": url}
        for path in sorted((ROOT / "examples/sdk").glob("*.py")):
            told = _run([str(python), str(path)], environ).strip()
            if told != "Interest rates rose again.":
                raise ClientFailed(f"{path.name} found {told!r}")
            names.append(path.name)
    return names


def run_agents_tools(url: str, model: str) -> None:
    """Run the published MCP server's tools against a cluster, by a model that finds persons and
    locations. Blocking. Raises `NoInterpreter`, `ClientFailed`."""
    [client] = [each for each in CLIENTS if each.program == "with_sie_mcp"]
    python = _environment(client)
    _run([str(python), str(_PROGRAMS / client.file), url, model, model], _without_own_variables())


def clients_gateway(**settings: Any) -> AbstractContextManager[str]:
    """The address of the gateway that the programs talk to."""
    outputs = ["dense", "sparse", "multivector"]
    return served_gateway(
        more=[
            model("org/many", {"encode": {"outputs": outputs}}),
            model("org/finder", {"extract": {}}, profiles={"default": {"backend": "gliner"}}),
            ("bundle", "gliner", {"name": "gliner", "backends": ["gliner"]}),
        ],
        bundles=["gliner"],
        tei_embed_model="org/dense",
        tei_rerank_model="ranker",
        fleet_ttl_s=86_400.0,
        **settings,
    )


def run_client(client: PublishedClient, url: str) -> dict[str, str]:
    """Run a client against a gateway; the versions of its packages. Blocking, for minutes where its
    environment is not made yet. Raises `NoInterpreter`, `ClientFailed`.

    One with a vocabulary of its own runs against another gateway, which was given that.
    """
    if client.is_node:
        return _run_node(client, url)
    python = _environment(client) if client.requirements else Path(sys.executable)
    environ = _without_own_variables()
    environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    program = [str(python), str(_PROGRAMS / client.file)]
    if client.vocabulary:
        [words] = python.parents[1].glob(f"lib/python*/site-packages/{client.vocabulary}")
        with clients_gateway(token_vocabulary=words) as own:
            _run([*program, own], {**environ, "TIKTOKEN_CACHE_DIR": str(words.parent)})
    else:
        _run([*program, url], environ)
    told: dict[str, str] = json.loads(
        _run([str(python), "-c", _VERSIONS, *client.packages], environ)
    )
    return told


def _without_own_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _OWN_VARIABLES}


def _run_node(client: PublishedClient, url: str) -> dict[str, str]:
    folder = _folder(client)
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NoInterpreter("no Node is on this machine")
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=folder.parent))
        quietly = ["--no-audit", "--no-fund", "--prefix", str(making)]
        _run([npm, "install", *quietly, *client.requirements], dict(os.environ))
        with suppress(OSError):
            making.rename(folder)
    # Packages are looked for beside the program.
    program = Path(shutil.copy(_PROGRAMS / client.file, folder))
    _run([node, str(program), url], dict(os.environ))
    told: dict[str, str] = {}
    for name in client.packages:
        about = (folder / "node_modules" / name / "package.json").read_text()
        told[name] = json.loads(about)["version"]
    return told


def _folder(client: PublishedClient) -> Path:
    wanted = json.dumps([client.requirements, client.python])
    return _kept() / hashlib.sha256(wanted.encode()).hexdigest()[:16]


def _environment(client: PublishedClient) -> Path:
    """The interpreter of an environment with the client's requirements."""
    folder = _folder(client)
    python = folder / "bin/python"
    if python.exists():
        return python
    base = _interpreter(client.python)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Under its name it is whole; its interpreter finds its packages under any name.
    making = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        _run([base, "-m", "venv", str(making)], dict(os.environ))
        _install(making / "bin/python", client.requirements)
        with suppress(OSError):
            # Somebody else may have made the same meanwhile.
            making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return python


def _install(python: Path, requirements: Sequence[str]) -> None:
    """By uv where it is and can, which takes seconds for what takes pip minutes; else by pip."""
    uv = Path(sys.executable).with_name("uv")
    if uv.is_file():
        with suppress(ClientFailed):
            into = [str(uv), "pip", "install", "-q", "--python", str(python)]
            _run([*into, *requirements], dict(os.environ) | _as_uv_names_it())
            return
    _run([str(python), "-m", "pip", "install", "-q", *requirements], None)


def _as_uv_names_it() -> dict[str, str]:
    """The places that pip was told of, which uv does not read."""
    told: dict[str, str] = {}
    for setting, name in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        value = _pip_setting(setting)
        if value:
            told[name] = value
    links = _pip_setting("find-links").split()
    return told | ({"UV_FIND_LINKS": ",".join(links)} if links else {})


def _pip_setting(name: str) -> str:
    told = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
    if told:
        return told
    asked = [sys.executable, "-m", "pip", "config", "get", f"global.{name}"]
    return subprocess.run(asked, check=False, capture_output=True, text=True).stdout.strip()


def _kept() -> Path:
    named = os.environ.get("SIE_CLIENT_ENVIRONMENTS")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(cache) / "sie-client-environments"


def _interpreter(least: tuple[int, int]) -> str:
    for found in _interpreters():
        question = f"import sys; raise SystemExit(sys.version_info < {least})"
        with suppress(OSError):
            asked = subprocess.run([found, "-c", question], check=False, capture_output=True)
            if asked.returncode == 0:
                return found
    raise NoInterpreter(f"no Python {least[0]}.{least[1]} or newer is on this machine")


def _interpreters() -> Iterator[str]:
    yield sys.executable
    for minor in range(11, 16):
        found = shutil.which(f"python3.{minor}")
        if found:
            yield found
    yield from map(str, sorted(Path.home().glob(".pyenv/versions/3.*/bin/python")))


def _run(command: list[str], environ: dict[str, str] | None) -> str:
    run = subprocess.run(command, check=False, env=environ, capture_output=True, text=True, cwd="/")
    if run.returncode:
        raise ClientFailed(f"{' '.join(command)}\n{run.stdout}\n{run.stderr}")
    return run.stdout
