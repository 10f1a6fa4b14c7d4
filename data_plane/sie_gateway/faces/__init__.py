"""The compatibility faces: other APIs' requests and answers, over the same inference.

*pure.* `face_at` finds the face of a path: `FACES` by the whole of it, `TEI_FACES` below
`/tei/{model}`, where the path names the model. A face translates, and decides nothing: what it
cannot say in the other API's words is an error in that API's own shape.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from sie_gateway.faces import ollama, tei
from sie_gateway.faces.cohere import RERANK_V1, RERANK_V2
from sie_gateway.faces.cohere_embed import EMBED_V1, EMBED_V2
from sie_gateway.faces.face import Face, FaceModels, Translated
from sie_gateway.faces.infinity import CLASSIFY
from sie_gateway.faces.nvidia import RANKING
from sie_gateway.faces.openai import EMBEDDINGS, INFINITY
from sie_gateway.faces.vllm import SCORE
from sie_gateway.faces.voyage import VOYAGE_EMBEDDINGS, VOYAGE_RERANK

__all__ = [
    "FACES",
    "TEI_FACES",
    "TEI_PREFIX",
    "Face",
    "FaceModels",
    "Found",
    "Translated",
    "face_at",
]

TEI_PREFIX: Final = "/tei/"
FACES: Final[Mapping[str, Face]] = {
    "/v1/embeddings": EMBEDDINGS,
    "/v1/rerank": RERANK_V1,
    "/v2/rerank": RERANK_V2,
    "/v1/ranking": RANKING,
    # Its clients ask for a ranking where Cohere's do, some with the same bodies to the letter, and
    # read another answer: no path can speak for both.
    "/voyage/v1/embeddings": VOYAGE_EMBEDDINGS,
    "/voyage/v1/rerank": VOYAGE_RERANK,
    "/v1/embed": EMBED_V1,
    "/v2/embed": EMBED_V2,
    "/score": SCORE,
    "/v1/score": SCORE,
    "/api/embed": ollama.EMBED,
    "/api/embeddings": ollama.EMBEDDINGS,
    "/": tei.ANY,
    "/embed": tei.EMBED,
    "/embed_all": tei.EMBED_ALL,
    "/embed_sparse": tei.EMBED_SPARSE,
    "/embeddings": INFINITY,
    "/classify": CLASSIFY,
    "/predict": tei.PREDICT,
    "/rerank": tei.RERANK,
    "/similarity": tei.SIMILARITY,
}
TEI_FACES: Final[Mapping[str, Face]] = {
    "/v1/embeddings": EMBEDDINGS,
    "/embeddings": EMBEDDINGS,
    "/embed": tei.EMBED,
    "/embed_all": tei.EMBED_ALL,
    "/embed_sparse": tei.EMBED_SPARSE,
    "/predict": tei.PREDICT,
    "/rerank": tei.RERANK,
    "/similarity": tei.SIMILARITY,
    "": tei.ANY,
}
"""By the end of the path, the longest first."""
_NOT_HERE: Final = ("/tokenize", "/decode")
"""Routes of that API below a model that no face serves: no model is named so."""


class Found(NamedTuple):
    """A face, and the model that the path names; empty where it names none."""

    face: Face
    model: str


def face_at(method: str, path: str) -> Found | None:
    """The face of a path, if one is there. A path without an end of its own is a face's only for
    `POST`."""
    found = _face_at(path)
    return None if found is not None and found.face is tei.ANY and method != "POST" else found


def _face_at(path: str) -> Found | None:
    face = FACES.get(path)
    if face is not None:
        return Found(face, "")
    if not path.startswith(TEI_PREFIX):
        return None
    below = path.removeprefix(TEI_PREFIX).rstrip("/")
    if below.endswith(_NOT_HERE):
        return None
    for ending, each in TEI_FACES.items():
        model = below.removesuffix(ending)
        if below.endswith(ending) and model:
            return Found(each, model)
    return None
