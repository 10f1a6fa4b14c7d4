"""The compatibility faces: other APIs' requests and answers, over the same inference.

*pure.* `FACES` has each face by its path. A face translates, and decides nothing: what it cannot
say in the other API's words is an error in that API's own shape.
"""

from collections.abc import Mapping
from typing import Final

from sie_gateway.faces.cohere import RERANK_V1, RERANK_V2
from sie_gateway.faces.face import Face, FaceModels, Translated
from sie_gateway.faces.openai import EMBEDDINGS
from sie_gateway.faces.tei import EMBED, RERANK

__all__ = ["FACES", "Face", "FaceModels", "Translated"]

FACES: Final[Mapping[str, Face]] = {
    "/v1/embeddings": EMBEDDINGS,
    "/v1/rerank": RERANK_V1,
    "/v2/rerank": RERANK_V2,
    "/embed": EMBED,
    "/rerank": RERANK,
}
