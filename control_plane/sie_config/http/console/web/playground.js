// The playground: one request, its answer as a picture, and which entry of the log answered.

import { CONFIGS, GATEWAY, ask, documentAt, get, justBefore, keyPath } from "./api.js";
import {
  Badge, Busy, Copy, Empty, Field, Name, Panel, Problem, go, html, place, useAsked, useEffect, useSettled, useState,
} from "./parts.js";

const EXAMPLES = {
  encode: "The tenant shall pay the rent on the first day of each month.\nRent is due monthly.\nThe patient was given aspirin.\nA cat sleeps on the sofa.",
  score: "Aspirin thins the blood and eases pain.\nThe rent is due on the first.\nParacetamol lowers a fever.",
  extract: "Marie Curie moved from Warsaw to Paris in 1891 and worked at the Sorbonne.",
};
const QUERY = "What helps against a headache?";
const LABELS = "person, place, date, organization";

export function Playground({ query, may }) {
  const [model, setModel] = useState(query.model || "");
  const wanted = useSettled(model);
  // By the name that is typed: a log may hold thousands. Aliases are known of the first 500.
  const named = useAsked((signal) => (wanted ? documentAt("model", wanted, undefined, signal) : null), [wanted]);
  const like = useAsked((signal) => get(`${CONFIGS}models`, { after: justBefore(wanted), limit: 20 }, signal), [wanted]);
  const models = useAsked((signal) => get(`${CONFIGS}models`, { limit: 500 }, signal), []);
  const health = useAsked((signal) => (may.gateway ? get(`${GATEWAY}health`, { models: "false" }, signal) : null), []);
  useEffect(() => { if (query.model) setModel(query.model); }, [query.model]);
  useEffect(() => {
    // What is loaded answers at once: it is the best first try.
    const loaded = health.value && health.value.workers.flatMap((each) => each.loaded_models).sort()[0];
    if (!model && loaded) setModel(loaded);
  }, [health.value]);
  if (!may.gateway) return html`<${Empty}>sie-config knows no gateway: start it with --gateway-url, and the playground asks it.<//>`;
  if (!may.infer) return html`<${Empty}>Your token does not have the role infer.<//>`;
  const rows = models.value ? models.value.models : [];
  const alias = rows.find((each) => (each.document.aliases || []).includes(wanted));
  const found = named.value || (alias && alias.document);
  const busy = named.busy || wanted !== model;
  return html`<${Panel} title="Try a model">
    <${Problem} error=${models.error} />
    <${Field} label="Model"><input list="models" value=${model} data-testid="model" onInput=${(event) => setModel(event.target.value.trim())} onChange=${() => go("playground", { model })} /><//>
    <datalist id="models">${(like.value ? like.value.models : []).map((each) => html`<option value=${each.model_id}></option>`)}</datalist>
    <${Problem} error=${named.error} />
    ${found ? html`<${Form} key=${found.model_id} document=${found} adapter=${query.adapter} gateway=${may.gatewayUrl} />`
      : model && !busy ? html`<${Empty}>No model has that name. <a href=${place("models", { prefix: model })}>Look for it</a><//>`
      : !model ? html`<${Empty}>Choose a model: a name, or a part of its beginning.<//>` : html`<${Busy} when=${true} />`}
  <//>`;
}

function Form({ document, adapter, gateway }) {
  const operations = ["encode", "score", "extract"].filter((each) => each in document.tasks);
  const [operation, setOperation] = useState(operations[0]);
  const [profile, setProfile] = useState("default");
  const [lora, setLora] = useState(adapter || "");
  const [beside, setBeside] = useState(Boolean(adapter));
  const [texts, setTexts] = useState(EXAMPLES[operations[0]]);
  const [asked, setAsked] = useState(QUERY);
  const [labels, setLabels] = useState(LABELS);
  const [answers, set] = useState(null);
  const [busy, work] = useState(false);
  const adapters = useAsked((signal) => get(`${CONFIGS}adapters`, { after: `${document.model_id}/`, limit: 50 }, signal), [document.model_id]);
  const own = (adapters.value ? adapters.value.adapters : []).filter((each) => each.model_id === document.model_id);
  const lines = texts.split("\n").map((each) => each.trim()).filter(Boolean);
  const request = (name) => {
    const options = name ? { lora: name } : undefined;
    const items = (operation === "extract" ? [texts] : lines).map((text) => ({ text }));
    if (operation === "score") return { query: { text: asked }, items, ...(options && { options }) };
    const params = { ...(options && { options }), ...(operation === "extract" && asksLabels(document, profile) && { labels: labels.split(",").map((each) => each.trim()).filter(Boolean) }) };
    return { items, ...(Object.keys(params).length && { params }) };
  };
  const spec = profile === "default" ? document.model_id : `${document.model_id}:${profile}`;
  const run = async (event) => {
    event.preventDefault();
    work(true);
    const wanted = lora && beside ? ["", lora] : [lora];
    set(await Promise.all(wanted.map((name) => one(operation, spec, name, request(name)))));
    work(false);
  };
  return html`<form onSubmit=${run} class="try">
      <div class="filters">
        <${Field} label="Operation"><select value=${operation} onChange=${(event) => { setOperation(event.target.value); setTexts(EXAMPLES[event.target.value]); set(null); }}>
          ${operations.map((each) => html`<option value=${each}>${each}</option>`)}</select><//>
        <${Field} label="Profile"><select value=${profile} onChange=${(event) => setProfile(event.target.value)}>
          ${Object.keys(document.profiles).map((each) => html`<option value=${each}>${each}</option>`)}</select><//>
        <${Field} label="Adapter"><select value=${lora} data-testid="adapter" onChange=${(event) => setLora(event.target.value)}>
          <option value="">none: the base</option>${own.map((each) => html`<option value=${each.name}>${each.name}</option>`)}</select><//>
        ${lora && html`<label class="check"><input type="checkbox" checked=${beside} onChange=${(event) => setBeside(event.target.checked)} /> beside the base</label>`}
      </div>
      ${operation === "score" && html`<${Field} label="Query"><input required value=${asked} onInput=${(event) => setAsked(event.target.value)} /><//>`}
      ${operation === "extract" && asksLabels(document, profile) && html`<${Field} label="Labels"><input value=${labels} onInput=${(event) => setLabels(event.target.value)} /><//>`}
      <${Field} label=${operation === "extract" ? "Text" : "Texts, one a line"}><textarea required rows="5" value=${texts} onInput=${(event) => setTexts(event.target.value)}></textarea><//>
      <div class="row"><button type="submit" class="main" data-testid="run" disabled=${busy}>${busy ? "Asking…" : "Run"}</button>
        <${Copy} text=${asCurl(gateway, operation, spec, request(lora))}>Copy as curl<//><${Copy} text=${asPython(gateway, operation, spec, request(lora))}>Copy as Python<//></div>
    </form>
    <${Busy} when=${busy} />
    ${answers && html`<div class="answers">${answers.map((each) => html`<${Answer} key=${each.lora} told=${each} operation=${operation} lines=${operation === "extract" ? [texts] : lines} />`)}</div>`}`;
}

const asksLabels = (document, profile) => !["spacy", "token-classification"].includes((document.profiles[profile] || {}).backend);

async function one(operation, spec, lora, body) {
  const started = performance.now();
  try {
    const { value, headers, status } = await ask("POST", `${GATEWAY}v1/${operation}/${keyPath(spec)}`, { body });
    if (status === 202) return { lora, error: { code: "PROVISIONING", message: `no worker is ready for it yet; come again in ${headers.get("retry-after") || "a few"} s` } };
    return { lora, value, headers, took: performance.now() - started };
  } catch (error) {
    return { lora, error };
  }
}

function Answer({ told, operation, lines }) {
  const title = told.lora ? html`with <${Name}>${told.lora}<//>` : "the base";
  if (told.error) return html`<section class="answer"><h3>${title}</h3><${Problem} error=${told.error} /></section>`;
  const epoch = (told.headers.get("x-sie-config-epoch") || "").split(".")[1];
  const revision = told.headers.get("x-sie-model-revision") || "";
  const adapterRevision = told.headers.get("x-sie-adapter-revision") || "";
  return html`<section class="answer" data-testid="answer"><h3>${title}</h3>
    ${operation === "encode" && html`<${Likeness} items=${told.value.items} lines=${lines} />`}
    ${operation === "score" && html`<${Ranked} scores=${told.value.scores} lines=${lines} />`}
    ${operation === "extract" && html`<${Found} items=${told.value.items} lines=${lines} />`}
    <dl class="facts small">
      <dt>Took</dt><dd>${told.took.toFixed(0)} ms <span class="soft">queue ${told.headers.get("x-queue-time") || "–"}, tokens ${told.headers.get("x-tokenization-time") || "–"}, model ${told.headers.get("x-inference-time") || "–"} ms</span></dd>
      <dt>Worker</dt><dd><${Name}>${told.headers.get("x-sie-worker") || "–"}<//></dd>
      <dt>Configuration</dt><dd><a href=${place("history", { epoch })}>epoch ${epoch}</a></dd>
      <dt>Revision</dt><dd><${Revision} revision=${revision} /></dd>
      ${adapterRevision && html`<dt>Adapter's</dt><dd><${Revision} revision=${adapterRevision} /></dd>`}
    </dl></section>`;
}

/** The entry that made what answered. */
function Revision({ revision }) {
  const made = useAsked((signal) => (revision ? get(`${CONFIGS}resolve`, { revision }, signal) : null), [revision]);
  return html`<span class="mono">${revision.slice(0, 12)}</span> ${made.value && html`made by <a data-testid="made-by" href=${place("history", { epoch: made.value.entry.epoch })}>epoch ${made.value.entry.epoch}</a>`}`;
}

// -- pictures --

const dot = (a, b) => a.reduce((sum, each, at) => sum + each * b[at], 0);
const cosine = (a, b) => dot(a, b) / (Math.sqrt(dot(a, a) * dot(b, b)) || 1);

function likeness(a, b) {
  if (a.dense) return cosine(a.dense.values, b.dense.values);
  if (a.sparse) {
    const of = (each) => new Map(each.indices.map((index, at) => [index, each.values[at]]));
    const [x, y] = [of(a.sparse), of(b.sparse)];
    const size = (each) => Math.sqrt([...each.values()].reduce((sum, one) => sum + one * one, 0));
    let sum = 0;
    for (const [index, value] of x) sum += value * (y.get(index) || 0);
    return sum / (size(x) * size(y) || 1);
  }
  if (a.multivector) {
    const most = (row) => Math.max(...b.multivector.values.map((other) => cosine(row, other)));
    return a.multivector.values.reduce((sum, row) => sum + most(row), 0) / (a.multivector.values.length || 1);
  }
  return NaN;
}

function Likeness({ items, lines }) {
  const failed = items.find((each) => each.error);
  if (failed) return html`<${Problem} error=${failed.error} />`;
  const rows = items.map((a) => items.map((b) => likeness(a, b)));
  const shown = (value) => (Number.isNaN(value) ? "–" : value.toFixed(2));
  const tint = (value) => ({ "--heat": `${Math.round(Math.max(0, Math.min(1, value)) * 55)}%` });
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Likeness of the texts"><table class="heat"><caption class="hidden">Likeness of each two texts, from 0 to 1</caption>
    <thead><tr><th scope="col"><span class="hidden">Text</span></th>${lines.map((line, at) => html`<th scope="col" title=${line}>${at + 1}</th>`)}</tr></thead>
    <tbody>${rows.map((row, at) => html`<tr><th scope="row" title=${lines[at]}>${at + 1} <bdi class="clip">${lines[at]}</bdi></th>
      ${row.map((value) => html`<td style=${tint(value)}>${shown(value)}</td>`)}</tr>`)}</tbody></table></div>`;
}

function Ranked({ scores, lines }) {
  const most = Math.max(...scores.map((each) => each.score));
  const least = Math.min(...scores.map((each) => each.score));
  const width = (score) => `${Math.round(6 + 94 * ((score - least) / (most - least || 1)))}%`;
  return html`<ol class="ranked">${scores.map((each) => {
    const at = Number(String(each.item_id).split("-").pop());
    return html`<li><span class="bar" style=${{ "--width": width(each.score) }}></span><bdi>${lines[at] || each.item_id}</bdi><span class="number">${each.score.toFixed(4)}</span></li>`;
  })}</ol>`;
}

function Found({ items, lines }) {
  return items.map((item, at) => html`<div key=${at}>
    ${item.error && html`<${Problem} error=${item.error} />`}
    <p class="spans">${parts(lines[at], item.entities || []).map(([text, label, score]) => (label
      ? html`<mark class="span" data-hue=${hue(label)}>${text}<span class="label">${label}${score < 1 ? ` ${score.toFixed(2)}` : ""}</span></mark>`
      : text))}</p>
    ${(item.classifications || []).length > 0 && html`<ol class="ranked">${item.classifications.map((each) => html`<li><span class="bar" style=${{ "--width": `${Math.round(each.score * 100)}%` }}></span>${each.label}<span class="number">${each.score.toFixed(3)}</span></li>`)}</ol>`}
    ${!(item.entities || []).length && !(item.classifications || []).length && !item.error && html`<${Empty}>Nothing was found.<//>`}
  </div>`);
}

const hue = (label) => [...label].reduce((sum, each) => sum + each.codePointAt(0), 0) % 6;

/** The text cut at its spans, which may not overlap here. Offsets are of characters, not of UTF-16. */
function parts(text, entities) {
  const letters = [...text];
  const found = [];
  let from = 0;
  for (const each of [...entities].filter((one) => one.start !== undefined && one.start !== null).sort((a, b) => a.start - b.start)) {
    if (each.start < from) continue;
    found.push([letters.slice(from, each.start).join("")], [letters.slice(each.start, each.end).join(""), each.label, each.score]);
    from = each.end;
  }
  found.push([letters.slice(from).join("")]);
  return found;
}

// -- the same elsewhere --

function asCurl(gateway, operation, spec, body) {
  const data = JSON.stringify(body).replaceAll("'", "'\\''");
  return `curl -s ${gateway}/v1/${operation}/${keyPath(spec)} \\\n  -H "Authorization: Bearer $SIE_API_KEY" -H 'content-type: application/json' \\\n  -d '${data}'`;
}

function asPython(gateway, operation, spec, body) {
  const quoted = (value) => JSON.stringify(value);
  const texts = body.items.map((each) => `Item(text=${quoted(each.text)})`).join(", ");
  const options = (body.params && body.params.options) || body.options;
  const more = [
    ...(body.params && body.params.labels ? [`labels=${quoted(body.params.labels)}`] : []),
    ...(options ? [`options=${quoted(options)}`] : []),
  ];
  const first = operation === "score" ? [quoted(spec), `Item(text=${quoted(body.query.text)})`, `[${texts}]`] : [quoted(spec), `[${texts}]`];
  return `from sie_sdk import SIEClient\nfrom sie_sdk.types import Item\n\nwith SIEClient("${gateway}") as client:\n    print(client.${operation}(${[...first, ...more].join(", ")}))`;
}
