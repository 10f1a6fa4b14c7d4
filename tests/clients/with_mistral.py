"""Mistral's client of the third version, and Ollama's with the models that it lists."""

import sys

import ollama
from mistralai.client import Mistral

VECTORS = [[4.0, 0.0, 0.0], [1.0, 1.0, 0.0]]


def main(url: str) -> None:
    """Embeddings, models and an error of each, with their defaults."""
    mistral = Mistral(api_key="none", server_url=url)
    told = mistral.embeddings.create(model="org/dense", inputs=["four", "a"])
    assert [each.embedding for each in told.data] == VECTORS
    listed = mistral.models.list().data
    assert "org/dense" in [each.id for each in listed]
    found = mistral.models.retrieve(model_id="org/dense")
    assert not any(each.capabilities.completion_chat for each in [found, *listed])

    client = ollama.Client(host=url)
    assert client.embed(model="org/dense", input="four").embeddings == [[1.0, 0.0, 0.0]]
    assert client.embeddings(model="org/dense", prompt="four").embedding == VECTORS[0]
    try:
        client.embed(model="nobody", input="a")
    except ollama.ResponseError as error:
        assert "there is no model" in error.error
    else:
        raise AssertionError("an unknown model was found")
    listed_here = {each.model: each for each in client.list().models}
    assert "org/dense" in listed_here
    assert "ranker" not in listed_here, "it does not embed"
    assert client.embed(model=next(iter(listed_here)), input="a").embeddings
    for asked in (lambda: client.show("org/dense"), client.ps, lambda: client.pull("org/dense")):
        try:
            asked()
        except ollama.ResponseError as error:
            assert "served of" in error.error or "sie add" in error.error
        else:
            raise AssertionError("what is not served was answered")


if __name__ == "__main__":
    main(sys.argv[1])
