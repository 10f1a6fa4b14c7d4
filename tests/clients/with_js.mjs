// Clients in JavaScript: of OpenAI, Cohere, LangChain, Vercel's AI SDK, Hugging Face, Mistral,
// Together and Voyage.

import assert from "node:assert/strict";

import { createCohere } from "@ai-sdk/cohere";
import { createMistral } from "@ai-sdk/mistral";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createTogetherAI } from "@ai-sdk/togetherai";
import { InferenceClient } from "@huggingface/inference";
import { CohereEmbeddings, CohereRerank } from "@langchain/cohere";
import { OpenAIEmbeddings } from "@langchain/openai";
import { Mistral } from "@mistralai/mistralai";
import { embed, embedMany, rerank } from "ai";
import { CohereClient, CohereClientV2 } from "cohere-ai";
import OpenAI from "openai";
import Together from "together-ai";
import { VoyageAIClient } from "voyageai";

const url = process.argv[2];
const texts = ["four", "a"];
const vectors = [[4, 0, 0], [1, 1, 0]];
const told = { apiKey: "none", baseURL: `${url}/v1` };

const openai = new OpenAI({ ...told, maxRetries: 0 });
const found = await openai.embeddings.create({ model: "org/dense", input: texts });
assert.deepEqual(found.data.map((each) => each.embedding), vectors);
const many = { model: "org/dense", input: Array.from({ length: 4000 }, (_, at) => `text ${at}`) };
assert.equal((await openai.embeddings.create(many)).data.length, 4000);
await assert.rejects(openai.embeddings.create({ model: "nobody", input: "a" }), OpenAI.NotFoundError);
// Half of a surrogate pair, as JavaScript writes what it cut inside a character.
await assert.rejects(
  openai.embeddings.create({ model: "org/dense", input: "\ud83d" }),
  OpenAI.BadRequestError,
);
const leaves = openai.embeddings.create(many, { signal: AbortSignal.timeout(1) });
await assert.rejects(leaves, OpenAI.APIUserAbortError);
assert.equal((await openai.models.list()).data.some((each) => each.id === "org/dense"), true);

for (const Client of [CohereClient, CohereClientV2]) {
  const cohere = new Client({ token: "none", environment: url });
  const asked = { model: "ranker", query: "q", documents: ["a", "ccc"], topN: 1 };
  assert.deepEqual((await cohere.rerank(asked)).results.map((each) => each.index), [1]);
  const typed = { model: "org/dense", texts, inputType: "search_query", embeddingTypes: ["float"] };
  assert.deepEqual((await cohere.embed(typed)).embeddings.float, vectors);
}

const byLangChain = new OpenAIEmbeddings({
  apiKey: "none",
  model: "org/dense",
  configuration: { baseURL: `${url}/v1` },
});
assert.deepEqual(await byLangChain.embedDocuments(texts), vectors);
const client = new CohereClient({ token: "none", environment: url });
const embeddings = new CohereEmbeddings({ apiKey: "none", model: "org/dense", client });
assert.deepEqual(await embeddings.embedQuery("four"), vectors[0]);
const reranker = new CohereRerank({ apiKey: "none", model: "ranker", client });
assert.deepEqual((await reranker.rerank(["a", "ccc"], "q")).map((each) => each.index), [1, 0]);

const compatible = createOpenAICompatible({ name: "sie", ...told });
const batch = { model: compatible.embeddingModel("org/dense"), values: texts };
assert.deepEqual((await embedMany(batch)).embeddings, vectors);
const one = { model: createOpenAI(told).embedding("org/dense"), value: "four" };
assert.deepEqual((await embed(one)).embedding, vectors[0]);
const byMistral = { model: createMistral(told).embedding("org/dense"), values: texts };
assert.deepEqual((await embedMany(byMistral)).embeddings, vectors);
const byCohere = createCohere({ apiKey: "none", baseURL: `${url}/v2` });
for (const model of [byCohere.reranking("ranker"), createTogetherAI(told).reranking("ranker")]) {
  const asked = { model, documents: ["a", "ccc"], query: "q" };
  assert.deepEqual((await rerank(asked)).ranking.map((each) => each.originalIndex), [1, 0]);
}

const mistral = new Mistral({ apiKey: "none", serverURL: url });
const given = await mistral.embeddings.create({ model: "org/dense", inputs: texts });
assert.deepEqual(given.data.map((each) => each.embedding), vectors);
const together = new Together({ ...told, maxRetries: 0 });
const documents = [{ title: "x", text: "a" }, { title: "x", text: "ccc" }];
const fields = { query: "q", documents, rank_fields: ["title", "text"], model: "ranker" };
assert.deepEqual((await together.rerank.create(fields)).results.map((each) => each.index), [1, 0]);
const voyage = new VoyageAIClient({ apiKey: "none", environment: `${url}/voyage/v1` });
const said = await voyage.embed({ input: texts, model: "org/dense", inputType: "document" });
assert.deepEqual(said.data.map((each) => each.embedding), vectors);
const best = await voyage.rerank({ query: "q", documents: ["a", "ccc"], model: "ranker" });
assert.deepEqual(best.data.map((each) => each.index), [1, 0]);

const hub = new InferenceClient("none", { endpointUrl: `${url}/tei/org/dense` });
assert.deepEqual(await hub.featureExtraction({ inputs: ["four"] }), [[1, 0, 0]]);
