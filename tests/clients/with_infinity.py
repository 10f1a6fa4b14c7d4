"""Infinity's own client, by the bodies that its types write."""

import sys

from infinity_client import Client
from infinity_client.api.default import classify, embeddings, models, rerank
from infinity_client.models import ClassifyInput, OpenAIEmbeddingInputText, RerankInput


def main(url: str) -> None:
    """Embeddings, rankings, models and an error."""
    with Client(base_url=url) as client:
        body = OpenAIEmbeddingInputText(input_=["four"], model="org/dense")
        found = embeddings.sync(client=client, body=body)
        assert found.data[0].embedding == [4.0, 0.0, 0.0], found
        asked = RerankInput(query="q", documents=["a", "ccc"], model="ranker")
        ranked = rerank.sync(client=client, body=asked)
        assert [each.index for each in ranked.results] == [1, 0], ranked
        assert "org/dense" in {each.id for each in models.sync(client=client).data}
        unclassed = ClassifyInput(input_=["a"], model="finder")
        refused = classify.sync_detailed(client=client, body=unclassed)
        assert refused.status_code == 400, refused


if __name__ == "__main__":
    main(sys.argv[1])
