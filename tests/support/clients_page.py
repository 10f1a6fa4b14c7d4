"""`docs/clients.md`: which published clients work against a gateway, in which version, seen when.

python -m tests.support.clients_page           # run them all, and say how each fared
python -m tests.support.clients_page --write   # and write the page
"""

import datetime
import sys
import tempfile
from pathlib import Path

from tests.support.gliner_models import SENTENCES, write_gliner
from tests.support.live_cluster import sie, started_cluster
from tests.support.published_clients import (
    CLIENTS,
    ClientFailed,
    NoInterpreter,
    clients_gateway,
    run_agents_tools,
    run_client,
    run_examples,
)

__all__ = ["HEAD", "PAGE", "TAIL", "main", "page"]

PAGE = Path(__file__).parents[2] / "docs/clients.md"
HEAD = """# Published clients

Programs of users of published clients, run against a gateway unchanged but for its address. Each
runs in an environment of its own, with the client from the ordinary index, Python's or Node's. The
programs are in `tests/clients`; those marked CI run with every change, all of them in
`./sie soak --clients`. The words are in the [glossary](glossary.md).

The examples of stores (`examples/sdk`: Chroma, Qdrant, sqlite-vec) run there too, with our own SDK
against a whole cluster. LangChain and LlamaIndex need no classes of ours: the published ones serve.

What each API of theirs is here, and what is refused by name, is in
[configure](operations/configure.md#other-apis).

"""
TAIL = """
## Known limits

- `openai` 3.57.0, the next major version, was seen on 2026-12-03 to run its program too.
- `langchain-openai` sends token ids of OpenAI's vocabulary by default. Give the gateway that file
  (`SIE_GATEWAY_TOKEN_VOCABULARY`, tiktoken's `cl100k_base`), as the program's gateway was. Or give
  the client `check_embedding_ctx_length=False`, and it sends texts.
- `sie-mcp` was seen with `extract_entities` and `redact_pii`, which wants a model that takes
  `threshold`, as those of `gliner` do: by an echo, and by a small GLiNER that was fitted to a
  handful of sentences, on workers of the bundle `gliner`. Its other tools generate texts or
  convert documents, which are no operations here: they answer with an error.
- `tei-client`'s `tokenize` and `decode` are refused with the reason: what a model reads is not
  shown.
- Clients of Voyage have the base URL `GATEWAY/voyage/v1`. At `/v1` they embed, but cannot rank or
  read an error. litellm ranks by NVIDIA's API as `nvidia_nim/ranking/MODEL`.
- A document that is an object without `text` is ranked by the fields that `rank_fields` names.
  Together's own service reads all fields where none is named; here that is refused.
- Ollama's clients embed, and list the models that do (`/api/tags`). There are no tags such as
  `:latest`, and Ollama's own options (`num_ctx`) are refused by name.
- vLLM's `/score` takes one `text_1`, and a reranker. Its `/pooling` is refused.
- The hub's tasks are `feature_extraction`, `sentence_similarity`, `text_classification`,
  `zero_shot_classification` and `token_classification`. The base URL of each is
  `GATEWAY/tei/{model}`. Parameters of another task are refused: `top_k` of entities,
  `ignore_labels` of classes, and `multi_label` without labels.
- Jina's own service gives documents back by default, and Cohere's does not. Here, as at Cohere's,
  `return_documents` has to be said.
- Clients that only know the models of their own service, such as LlamaIndex' Cohere embedder,
  refuse other names themselves.
- `sie-weaviate` makes what is stored, and was not run with a Weaviate.
- `/rerank` gives documents back as `{"text": ...}`, as Jina and vLLM do. litellm's provider
  `infinity` reads a plain text there: leave `return_documents` out.
- litellm's provider `huggingface` asks the public hub about a model before it embeds. With
  `input_type="feature-extraction"` it asks nobody.
- `sie-sdk` and this project's wheel cannot be in one environment: both are imported as `sie_sdk`.
"""


def page(seen: dict[str, dict[str, str]], day: str) -> str:
    """The page of the versions that were seen to work, by program."""
    rows = [
        f"| {', '.join(f'`{name}` {told}' for name, told in seen[client.program].items())} "
        f"| `{client.file}` | {'CI' if client.in_ci else 'soak'} | {day} |"
        for client in CLIENTS
        if client.program in seen
    ]
    table = ["| Client | Program | Runs in | Seen to work |", "|---|---|---|---|", *rows]
    return HEAD + "\n".join(table) + "\n" + TAIL


def main(argv: list[str]) -> int:
    """Run every client; the exit status is 1 where one failed."""
    seen: dict[str, dict[str, str]] = {}
    failed = False
    with clients_gateway() as url:
        for client in CLIENTS:
            try:
                seen[client.program] = run_client(client, url)
                print(f"{client.program}: {seen[client.program]}", flush=True)  # noqa: T201
            except NoInterpreter as error:
                print(f"{client.program}: not run, {error}", flush=True)  # noqa: T201
            except ClientFailed as error:
                failed = True
                print(f"{client.program}: failed\n{error}", flush=True)  # noqa: T201
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            started_cluster(Path(folder) / "cluster", "--bundle", "gliner") as cluster,
        ):
            print(f"examples: {run_examples(cluster.gateway_url)}", flush=True)  # noqa: T201
            write_gliner(Path(folder), "uni-span", fitted_to=SENTENCES)
            where = ("--name", "test/words", "--url", cluster.config_url)
            added = sie("add", str(Path(folder) / "model"), *where)
            if added.returncode:
                raise ClientFailed(added.stderr + added.stdout)
            run_agents_tools(cluster.gateway_url, "test/words")
            print("the tools of agents, by a small GLiNER: right", flush=True)  # noqa: T201
    except (NoInterpreter, ClientFailed) as error:
        failed = failed or isinstance(error, ClientFailed)
        print(f"examples: {error}", flush=True)  # noqa: T201
    if "--write" in argv and not failed:
        day = datetime.datetime.now(datetime.UTC).date().isoformat()
        PAGE.write_text(page(seen, day))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
