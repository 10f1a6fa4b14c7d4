"""The hub's inference client, at a model's view in the form of Text Embeddings Inference."""

import sys

from huggingface_hub import InferenceClient


def main(url: str) -> None:
    """Features, similarity and entities."""
    client = InferenceClient(base_url=f"{url}/tei/org/dense")
    vectors = client.feature_extraction("four", normalize=True, prompt_name="query")
    assert vectors.tolist() == [[1.0, 0.0, 0.0]]
    alike = client.sentence_similarity("four", ["four", "a"])
    assert [round(each, 2) for each in alike] == [0.97, 0.45]
    root = InferenceClient(base_url=url)
    assert root.feature_extraction("four", truncate=True).tolist() == [[1.0, 0.0, 0.0]]
    assert root.feature_extraction("four", normalize=False).tolist() == [[4.0, 0.0, 0.0]]
    finder = InferenceClient(base_url=f"{url}/tei/finder")
    found = finder.token_classification("four", aggregation_strategy=None)
    assert [(each.word, each.start, each.end) for each in found] == [("four", 0, 4)]


if __name__ == "__main__":
    main(sys.argv[1])
