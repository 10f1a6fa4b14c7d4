// Clients in JavaScript: OpenAI's, Cohere's, LangChain's, Vercel's AI SDK and Hugging Face's.

import assert from "node:assert/strict";

import { createCohere } from "@ai-sdk/cohere";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { InferenceClient } from "@huggingface/inference";
import { CohereEmbeddings, CohereRerank } from "@langchain/cohere";
import { OpenAIEmbeddings } from "@langchain/openai";
import { embed, embedMany, rerank } from "ai";
import { CohereClient, CohereClientV2 } from "cohere-ai";
import OpenAI from "openai";

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
const byCohere = createCohere({ apiKey: "none", baseURL: `${url}/v2` });
const ranked = { model: byCohere.reranking("ranker"), documents: ["a", "ccc"], query: "q" };
assert.deepEqual((await rerank(ranked)).ranking.map((each) => each.originalIndex), [1, 0]);

const hub = new InferenceClient("none", { endpointUrl: `${url}/tei/org/dense` });
assert.deepEqual(await hub.featureExtraction({ inputs: ["four"] }), [[1, 0, 0]]);
