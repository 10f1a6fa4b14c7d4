// Models: what is installed, where it is loaded, what failed; and an editor that tries before it writes.

import { CONFIGS, GATEWAY, ask, asHeader, entityPath, get, justBefore, keyPath, nameOf } from "./api.js";
import { Difference, pretty } from "./diff.js";
import { More, Rows, moveInList, useNear } from "./lists.js";
import { useLive, useLivePart } from "./live.js";
import {
  Badge, Busy, Detail, Dialog, Empty, Field, Name, Panel, Problem, Table, Tabs, count, go, html, place,
  say, useAsked, useEffect, useEvery, useMemo, usePaced, useRef, useSettled, useState,
} from "./parts.js";

const PAGE = 50;
const NEW = {
  model_id: "org/name",
  source: { type: "hub", id: "org/name", revision: "main's commit, 40 hex digits" },
  tasks: { encode: { outputs: ["dense"] } },
  profiles: { default: { backend: "transformer" } },
  pool: "default",
  description: "",
};

export function Models({ query, may }) {
  const head = usePaced(useLivePart((told) => (told.head ? told.head.epoch : 0)));
  const [prefix, setPrefix] = useState(query.prefix || "");
  const wanted = useSettled(prefix, 200);
  // A link may lead to another beginning while the page is open.
  useEffect(() => { if (query.prefix !== undefined) setPrefix(query.prefix); }, [query.prefix]);
  const [creating, create] = useState(null);
  // The first page is after the greatest name before the prefix: keys are in order.
  const first = justBefore(wanted);
  const [starts, begin] = useState([first]);
  const [counts, keepCount] = useState({});
  useEffect(() => { begin([first]); keepCount({}); }, [first]);
  const health = useEvery((signal) => (may.gateway ? get(`${GATEWAY}health`, { models: "false" }, signal) : null), [], 4000);
  const failed = useLivePart((told) => JSON.stringify(failures(told.replicas)));
  const bad = JSON.parse(failed);
  // The same text is the same rows: a list of thousands is not drawn anew at each look.
  const held = JSON.stringify(holdersOf(health.value));
  const holders = JSON.parse(held);
  const marks = `${failed} ${held}`;
  const shown = Object.values(counts).reduce((sum, each) => sum + each, 0);
  return html`<div class="split">
    <${Panel} title="Models" class="list" extra=${html`<span class="row">
      ${may.propose && html`<button type="button" onClick=${() => create({ kind: "model", document: NEW })}>New document…</button>
        <button type="button" class="main" data-testid="add" onClick=${() => create({})}>Add from the hub…</button>`}</span>`}>
      <form class="filters" onSubmit=${(event) => event.preventDefault()}>
        <${Field} label="Name begins with"><input type="search" value=${prefix} onInput=${(event) => setPrefix(event.target.value.trim())} /><//>
      </form>
      ${Object.keys(bad).length > 0 && html`<p class="chips">${Object.keys(bad).slice(0, 12).map((name) => html`
        <a class="chip" href=${place("models", { key: name })}><${Badge} tone="bad"><${Name}>${name}<//><//><span class="soft"> failed</span></a>`)}</p>`}
      ${Object.keys(holders).length > 0 && html`<p class="chips">${Object.entries(holders).slice(0, 12).map(([name, where]) => html`
        <a class="chip" href=${place("models", { key: name })}><${Badge} tone="ok"><${Name}>${name}<//><//><span class="soft"> on ${count(where, "worker")}</span></a>`)}</p>`}
      ${shown === 0 && first in counts && html`<${Empty}>${wanted ? "No model's name begins with that." : "No model is in the log yet: add one."}<//>`}
      <div class="timeline" onKeyDown=${moveInList}>${starts.map((after, at) => html`<${Chunk} key=${after} after=${after} until=${starts[at + 1]} prefix=${wanted}
        head=${head} bad=${bad} holders=${holders} marks=${marks} chosen=${query.key}
        onCount=${(count) => keepCount((before) => ({ ...before, [after]: count }))} onNext=${(next) => begin((before) => (before.includes(next) ? before : [...before, next]))} />`)}</div>
    <//>
    <${Detail} of=${query.key} after=${first in counts}>${query.key ? html`<${Model} key=${query.key} name=${query.key} head=${head} may=${may} failed=${bad[query.key]} />` : html`<${Empty}>Choose a model.<//>`}<//>
    ${creating && (creating.document
      ? html`<${Editor} ...${creating} may=${may} onClose=${() => create(null)} />`
      : html`<${Add} onFound=${create} onClose=${() => create(null)} />`)}
  </div>`;
}

/** By model: on how many workers it is loaded. */
function holdersOf(health) {
  const found = {};
  for (const worker of health ? health.workers : []) {
    for (const name of worker.loaded_models) found[name] = (found[name] || 0) + 1;
  }
  return found;
}

/** The models between two names. Far from the screen it is neither asked for anew nor drawn. */
function Chunk({ after, until, prefix, head, bad, holders, marks, chosen, onCount, onNext }) {
  const box = useRef(null);
  const { near } = useNear(box);
  const looked = useRef(head);
  if (near) looked.current = head;
  // Some more than there were: what came since is in its place.
  const asked = useAsked((signal) => get(`${CONFIGS}models`, { after, limit: until ? 2 * PAGE : PAGE }, signal), [after, looked.current]);
  const found = asked.value;
  const rows = useMemo(() => (found ? found.models : []).filter(({ model_id: name }) => name.startsWith(prefix) && (!until || name <= until)), [found, prefix, until]);
  useEffect(() => { if (found) onCount(rows.length); }, [rows]);
  const draw = (each) => html`<li key=${each.model_id}>
    <button type="button" class="entry two" aria-pressed=${each.model_id === chosen} data-model=${each.model_id} onClick=${() => go("models", { key: each.model_id, prefix })}>
      <span class="what"><${Name}>${each.model_id}<//>
        <span class="soft">${Object.keys(each.document.tasks).join(", ")} · ${count(Object.keys(each.document.profiles).length, "profile")} · epoch ${each.modified_epoch}</span></span>
      <span>${bad[each.model_id] ? html`<${Badge} tone="bad">failed<//>` : holders[each.model_id] ? html`<${Badge} tone="ok">loaded<//>` : html`<${Badge}>on demand<//>`}</span>
    </button></li>`;
  const more = found && found.next_after && !until && found.models.every((each) => each.model_id.startsWith(prefix));
  return html`<div class="chunk" ref=${box}>
    <${Problem} error=${asked.error} /><${Busy} when=${asked.busy && !found} />
    <${Rows} rows=${rows} draw=${draw} wants=${[marks, chosen]} />
    ${more && html`<${More} onMore=${() => onNext(found.next_after)} />`}</div>`;
}

function failures(replicas) {
  const found = {};
  for (const each of replicas) {
    for (const [model, reason] of Object.entries(each.failed)) (found[model] = found[model] || []).push([each.id, reason]);
  }
  return found;
}

function Model({ name, head, may, failed }) {
  const [editing, edit] = useState(null);
  const [removing, remove] = useState(false);
  const asked = useAsked((signal) => get(entityPath("model", name), undefined, signal), [name, head]);
  const served = useEvery((signal) => (may.gateway ? get(`${GATEWAY}v1/configs/models/${keyPath(name)}/status`, undefined, signal) : null), [name, head], 4000);
  const told = useAsked((signal) => (may.gateway ? get(`${GATEWAY}v1/models/${keyPath(name)}`, undefined, signal) : null), [name, head]);
  const adapters = useAsked((signal) => get(`${CONFIGS}adapters`, { after: `${name}/`, limit: 50 }, signal), [name, head]);
  if (asked.error) return html`<${Problem} error=${asked.error}><p><a href=${place("history", { kind: "model", key: name })}>Its history</a></p><//>`;
  if (!asked.value) return html`<${Busy} when=${true} />`;
  const { document, etag } = asked.value;
  const own = (adapters.value ? adapters.value.adapters : []).filter((each) => each.model_id === name);
  const sizes = told.value || {};
  return html`
    <${Panel} title=${html`<${Name}>${name}<//>`} extra=${html`<span class="row">
        <a class="button" href=${place("playground", { model: name })}>Try it</a>
        <a class="button" href=${place("history", { kind: "model", key: name })}>History</a>
        ${may.propose && html`<button type="button" data-testid="edit" onClick=${() => edit({ kind: "model", key: name, document, etag })}>Edit…</button>`}
        ${may.write && html`<button type="button" class="bad" onClick=${() => remove(true)}>Remove…</button>`}</span>`}>
      ${document.description && html`<p><bdi>${document.description}</bdi></p>`}
      ${failed && failed.map(([who, reason]) => html`<div class="problem" role="alert"><p><strong>worker ${who}</strong> cannot load it: <bdi>${reason}</bdi></p></div>`)}
      <dl class="facts">
        <dt>Does</dt><dd>${Object.keys(document.tasks).join(", ")}</dd>
        <dt>Pool</dt><dd>${document.pool}</dd>
        <dt>Weights</dt><dd class="mono"><bdi>${document.source.id || document.source.distribution || document.source.path}</bdi> ${document.source.revision && html`<span class="soft">${document.source.revision.slice(0, 12)}</span>`}</dd>
        ${document.aliases && document.aliases.length > 0 && html`<dt>Also named</dt><dd>${document.aliases.map((each) => html`<${Name}>${each}<//> `)}</dd>`}
        ${sizes.dims && html`<dt>Widths</dt><dd>${Object.entries(sizes.dims).map(([kind, width]) => `${kind} ${width}`).join(", ")}</dd>`}
        ${sizes.max_sequence_length && html`<dt>Reads</dt><dd>${sizes.max_sequence_length} tokens</dd>`}
        <dt>Changed at</dt><dd><a href=${place("history", { epoch: asked.value.modified_epoch })}>epoch ${asked.value.modified_epoch}</a></dd>
      </dl>
    <//>
    <${Panel} title="Profiles">
      <${Table} caption="Profiles" rows=${Object.entries(document.profiles)} keyOf=${([profile]) => profile}
        columns=${[
          ["Profile", ([profile]) => html`<${Name}>${profile}<//>`],
          ["Backend", ([, each]) => each.backend],
          ["Type", ([, each]) => each.dtype || "auto"],
          ["Tokens", ([, each]) => each.max_sequence_length || "–", "number"],
          ["Revision", ([profile]) => html`<span class="mono">${served.value && served.value.revisions[profile] ? served.value.revisions[profile].slice(0, 12) : "–"}</span>`],
        ]} />
    <//>
    ${may.gateway && html`<${Traffic} told=${served.value} />`}
    ${may.gateway && html`<${Panel} title="Where it is">
      <${Problem} error=${served.error} />
      <${Table} caption="Workers that tell of it" rows=${served.value ? served.value.workers : []} keyOf=${(each) => each.worker} empty="No worker tells of it: it is loaded when it is first asked for."
        columns=${[
          ["Worker", (each) => html`<${Name}>${each.worker}<//>`],
          ["State", (each) => html`<${Badge} tone=${{ loaded: "ok", failed: "bad" }[each.state] || "idle"}>${each.state}<//>`],
          ["Serves", (each) => html`<span class="mono">${(each.revision || "–").slice(0, 12)}</span>`],
          ["As the log wants", (each) => (each.effective ? html`<${Badge} tone="ok">yes<//>` : html`<${Badge} tone="warn">not yet<//>`)],
          ["Why", (each) => html`<bdi>${each.reason}</bdi>`],
        ]} />
    <//>`}
    <${Panel} title="Adapters">
      <${Table} caption="Adapters" rows=${own} keyOf=${(each) => each.name} empty="It has no adapter."
        columns=${[
          ["Adapter", (each) => html`<${Name}>${each.name}<//>`],
          ["Description", (each) => html`<bdi>${each.document.description}</bdi>`],
          ["Changed at", (each) => html`<a href=${place("history", { epoch: each.modified_epoch })}>epoch ${each.modified_epoch}</a>`],
          ["Do", (each) => html`<span class="row"><a class="button" href=${place("playground", { model: name, adapter: each.name })}>Try</a>
            ${may.propose && html`<button type="button" onClick=${() => edit({ kind: "adapter", key: nameOf("adapter", each), document: each.document, etag: each.etag })}>Edit…</button>`}</span>`],
        ]} />
    <//>
    <details class="panel"><summary>Document</summary><pre class="code" tabindex="0">${pretty(document)}</pre></details>
    ${editing && html`<${Editor} ...${editing} may=${may} onClose=${() => edit(null)} />`}
    ${removing && html`<${Remove} kind="model" name=${name} etag=${etag} onClose=${() => remove(false)} />`}`;
}

// -- traffic --

const seconds = (value) => (value === null ? "over 30 s" : value < 1 ? `${Math.round(value * 1000)} ms` : `${value} s`);

/** The bound below which a share of the requests between two looks stayed. */
function quantile(buckets, before, share) {
  const found = Object.entries(buckets).map(([bound, n]) => [bound === "+Inf" ? Infinity : Number(bound), n - ((before || {})[bound] || 0)]).sort((a, b) => a[0] - b[0]);
  const total = found.length ? Math.max(...found.map(([, n]) => n)) : 0;
  if (!total) return undefined;
  const [bound] = found.find(([, n]) => n >= share * total);
  return Number.isFinite(bound) ? bound : null;
}

/** Requests of a model at the gateway: now, by what two looks differ in; and since its start. */
function Traffic({ told }) {
  const [looks, keep] = useState([]);
  useEffect(() => {
    // About a minute, at a look each four seconds.
    if (told) keep((seen) => [...seen.slice(-15), { at: Date.now(), traffic: told.traffic }]);
  }, [told]);
  const now = told && told.traffic;
  if (!now) return html`<${Panel} title="Traffic"><${Empty}>The gateway counted no request for it since its start.<//><//>`;
  const first = looks.find((each) => each.traffic && each.traffic.requests <= now.requests);
  const span = first ? (Date.now() - first.at) / 1000 : 0;
  const before = first ? first.traffic : { requests: 0, by_status: {}, answered_within_s: {} };
  const failed = (counts) => counts["5xx"] || 0;
  const row = (name, requests, rate, bad, p50, p99) => ({ name, requests, rate, bad, p50, p99 });
  const rows = [
    ...(span > 2 ? [row(`the last ${Math.round(span)} s`, now.requests - before.requests, (now.requests - before.requests) / span, failed(now.by_status) - failed(before.by_status),
      quantile(now.answered_within_s, before.answered_within_s, 0.5), quantile(now.answered_within_s, before.answered_within_s, 0.99))] : []),
    row("since the gateway's start", now.requests, null, failed(now.by_status), quantile(now.answered_within_s, null, 0.5), quantile(now.answered_within_s, null, 0.99)),
  ];
  return html`<${Panel} title="Traffic">
    <${Table} caption="Requests at the gateway" rows=${rows} keyOf=${(each) => each.name}
      columns=${[
        ["In", (each) => each.name],
        ["Requests", (each) => each.requests, "number"],
        ["A second", (each) => (each.rate === null ? "–" : each.rate.toFixed(1)), "number"],
        ["Failed", (each) => (each.bad ? html`<${Badge} tone="bad">${each.bad}<//>` : 0), "number"],
        ["Half within", (each) => (each.p50 === undefined ? "–" : seconds(each.p50)), "number"],
        ["99 % within", (each) => (each.p99 === undefined ? "–" : seconds(each.p99)), "number"],
      ]} />
  <//>`;
}

// -- adding --

/** A repository of the hub, examined before anything is written. What it finds goes to the editor. */
function Add({ onFound, onClose }) {
  const [target, setTarget] = useState("");
  const [revision, setRevision] = useState("");
  const [task, setTask] = useState("");
  const [base, setBase] = useState("");
  const [found, set] = useState(null);
  const [error, fail] = useState(null);
  const [busy, work] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    work(true);
    fail(null);
    set(null);
    try {
      const body = { target, revision, adapter_of: base, task: task || null };
      set((await ask("POST", `${CONFIGS}inspect`, { body })).value);
    } catch (refused) {
      fail(refused);
    }
    work(false);
  };
  const change = (then) => (event) => { then(event.target.value.trim()); set(null); };
  return html`<${Dialog} title="Add a model or an adapter from the hub" onClose=${onClose} wide=${true}>
    <form onSubmit=${submit}>
      <div class="filters">
        <${Field} label="Repository"><input name="target" required autofocus spellcheck="false" pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*/[A-Za-z0-9._\\-]+" title="ORG/NAME, as the hub has it" placeholder="org/name" value=${target} onInput=${change((text) => setTarget(repositoryIn(text)))} /><//>
        <${Field} label="Revision"><input spellcheck="false" placeholder="the newest" value=${revision} onInput=${change(setRevision)} /><//>
        <${Field} label="Task"><select value=${task} onChange=${change(setTask)}>
          ${["", "encode", "score", "extract"].map((each) => html`<option value=${each}>${each || "as its files say"}</option>`)}</select><//>
        <${Field} label="Of an adapter: its model"><input spellcheck="false" placeholder="as its config says" value=${base} onInput=${change(setBase)} /><//>
        <button type="submit" class=${found && found.document ? "" : "main"} data-testid="inspect" disabled=${busy || !target}>${busy ? "Inspecting…" : "Inspect"}</button>
      </div>
      <p class="soft">sie-config reads its small files; nothing is written yet. A folder of the workers: <code>sie inspect FOLDER --document</code></p>
      <${Problem} error=${error} />
      ${found && found.refusals.length > 0 && html`<div class="problem" role="alert"><p><strong>Not run here</strong></p><ul>${found.refusals.map((each) => html`<li><bdi>${each}</bdi></li>`)}</ul></div>`}
      ${found && html`<${Facts} facts=${found.facts} />`}
      <footer class="row end"><button type="button" onClick=${onClose}>Cancel</button>
        ${found && found.document && html`<button type="button" class="main" data-testid="go-on" onClick=${() => onFound({ kind: found.kind, document: found.document, facts: found.facts, why: `add ${target}` })}>Go on…</button>`}</footer>
    </form><//>`;
}

/** The name in an address that was pasted; what is no address stays as it is. */
const repositoryIn = (text) => text.replace(/^https?:\/\/[^/]+\//, "").replace(/\/(tree|blob|resolve)\/.*$/, "");

const Facts = ({ facts }) => html`<${Table} caption="What its files say" rows=${facts} keyOf=${(each) => `${each.what} ${each.from}`}
  columns=${[["What", (each) => each.what], ["Value", (each) => html`<bdi>${each.value}</bdi>`], ["By", (each) => html`<code>${each.from}</code>`]]} />`;

// -- the editor --

function parsed(text) {
  try {
    return { value: JSON.parse(text), error: null };
  } catch (error) {
    return { value: null, error: { code: "NOT_JSON", message: error.message } };
  }
}

/** An entity as JSON. Each pause of typing is tried at sie-config, and the difference is shown. */
function Editor({ kind, document, etag, facts, why = "", may, onClose }) {
  const key = useMemo(() => (etag ? nameOf(kind, document) : null), []);
  const [text, set] = useState(pretty(document));
  const [reason, setReason] = useState(why);
  const [force, setForce] = useState("");
  const [error, fail] = useState(null);
  const [tab, choose] = useState("difference");
  const settled = useSettled(text, 400);
  const read = useMemo(() => parsed(settled), [settled]);
  const schema = useAsked((signal) => get("openapi.json", undefined, signal), []);
  const send = (value, query, headers) => etag
    ? ask("PUT", entityPath(kind, key), { body: value, query, headers: { "if-match": etag, ...headers } })
    : ask("POST", `${CONFIGS}${kind}s`, { body: value, query, headers: { "if-none-match": "*", ...headers } });
  const trial = useAsked(async () => (read.error ? null : (await send(read.value, { dry_run: "true" }, {})).value), [settled]);
  const refused = read.error || (text === settled && trial.error);
  const gate = [trial.error, error].find((each) => each && each.code === "FORCE_REQUIRED");
  const dark = trial.value ? trial.value.dark : [];
  const submit = async (event) => {
    event.preventDefault();
    fail(null);
    const now = parsed(text);
    if (now.error) return fail(now.error);
    try {
      const headers = { "x-sie-reason": asHeader(reason), ...(force ? { "x-sie-force": asHeader(force) } : {}) };
      const { value } = await send(now.value, {}, headers);
      say(`written: epoch ${value.epoch}`);
      onClose();
      go("history", { epoch: value.epoch });
    } catch (found) {
      fail(found);
    }
    return undefined;
  };
  const changed = trial.value && trial.value.changed;
  const leave = () => {
    if (text === pretty(document) || confirm("Leave without writing? The text is lost.")) onClose();
  };
  return html`<${Dialog} title=${etag ? html`Edit ${kind} <${Name}>${key}<//>` : facts ? `Add this ${kind}` : `New ${kind}`} onClose=${leave} wide=${true}>
    <form class="editor" onSubmit=${submit}>
      <div class="panes">
        <${Field} label="Document, as JSON"><textarea class="code" name="document" spellcheck="false" rows="22" value=${text} onInput=${(event) => set(event.target.value)}></textarea><//>
        <div class="pane">
          <${Tabs} label="Beside the text" value=${tab} onChange=${choose} options=${[["difference", "Difference"], ...(facts ? [["found", "What was found"]] : []), ["fields", "Fields"]]} />
          ${tab === "difference" && html`
            ${refused ? (gate ? null : html`<${Problem} error=${refused} />`) : html`<p role="status">${trial.busy ? html`<${Busy} when=${true} />` : changed ? html`<${Badge} tone="ok">it would be taken<//>` : html`<${Badge}>nothing would change<//>`}</p>`}
            ${!read.error && html`<${Difference} before=${etag ? document : null} after=${read.value} patch=${trial.value ? trial.value.patch : null} left="now" right="yours" />`}
            ${dark.length > 0 && html`<div class="problem" role="alert"><p><strong>Gate</strong> ${count(dark.length, "model")} in use could not be served any more.</p></div>`}`}
          ${tab === "found" && html`<${Facts} facts=${facts} />`}
          ${tab === "fields" && html`<${Fields} openapi=${schema.value} kind=${kind} />`}
        </div>
      </div>
      ${gate && html`<div class="problem" role="alert"><p><strong>Gate</strong> <bdi>${gate.message}</bdi></p></div>`}
      <div class="filters">
        <${Field} label="Reason"><input name="reason" required maxlength="500" value=${reason} onInput=${(event) => setReason(event.target.value)} /><//>
        ${(gate || dark.length > 0) && html`<${Field} label="Why the gate is to let this pass"><input required maxlength="500" value=${force} onInput=${(event) => setForce(event.target.value)} /><//>`}
      </div>
      <${Problem} error=${error && error !== gate ? error : null} />
      <footer class="row end"><button type="button" onClick=${leave}>Cancel</button>
        ${may.write && html`<button type="submit" class="main" data-testid="save" disabled=${Boolean(refused && !gate) || !reason.trim() || trial.busy}>Write</button>`}</footer>
    </form><//>`;
}

const TYPES = { model: "ModelDocument", adapter: "AdapterDocument", bundle: "BundleDocument", pool: "PoolDocument" };

function Fields({ openapi, kind }) {
  if (!openapi) return html`<${Busy} when=${true} />`;
  const schemas = openapi.components.schemas;
  const rows = [];
  const walk = (schema, path, depth) => {
    for (const [name, field] of Object.entries(schema.properties || {})) {
      const ref = field.$ref || (field.allOf && field.allOf[0].$ref) || (field.anyOf || []).map((each) => each.$ref).find(Boolean);
      const required = (schema.required || []).includes(name);
      rows.push({ path: `${path}${name}`, type: typeOf(field), required, text: field.description || "", default: field.default });
      if (ref && depth < 2) walk(schemas[ref.split("/").pop()] || {}, `${path}${name}.`, depth + 1);
      const each = Object.values(field.patternProperties || {})[0];
      if (each && each.$ref && depth < 2) walk(schemas[each.$ref.split("/").pop()] || {}, `${path}${name}.NAME.`, depth + 1);
    }
  };
  walk(schemas[TYPES[kind]] || {}, "", 0);
  return html`<ul class="fields">${rows.map((each) => html`<li><code>${each.path}</code> <span class="soft">${each.type}${each.required ? ", wanted" : ""}${
    each.default !== undefined && each.default !== null ? `, else ${JSON.stringify(each.default)}` : ""}</span>${each.text && html`<div class="soft">${each.text}</div>`}</li>`)}</ul>`;
}

function typeOf(field) {
  if (field.enum) return field.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (field.anyOf) return field.anyOf.map(typeOf).join(" | ");
  if (field.oneOf) return field.oneOf.map(typeOf).join(" | ");
  if (field.$ref) return field.$ref.split("/").pop();
  return field.type === "array" ? `list of ${typeOf(field.items || {})}` : field.const ? JSON.stringify(field.const) : field.type || "any";
}

function Remove({ kind, name, etag, onClose }) {
  const [reason, setReason] = useState("");
  const [force, setForce] = useState("");
  const [error, fail] = useState(null);
  const gate = error && error.code === "FORCE_REQUIRED" ? error : null;
  const submit = async (event) => {
    event.preventDefault();
    try {
      const headers = { "if-match": etag, "x-sie-reason": asHeader(reason), ...(force ? { "x-sie-force": asHeader(force) } : {}) };
      const { value } = await ask("DELETE", entityPath(kind, name), { headers });
      onClose();
      go("history", { epoch: value.epoch });
    } catch (found) {
      fail(found);
    }
  };
  return html`<${Dialog} title=${html`Remove ${kind} <${Name}>${name}<//>`} onClose=${onClose}>
    <form onSubmit=${submit}>
      <p>Requests that name it are refused from then on. History keeps it: it can be brought back.</p>
      <${Field} label="Reason"><input required maxlength="500" value=${reason} onInput=${(event) => setReason(event.target.value)} /><//>
      ${gate && html`<div class="problem" role="alert"><p><strong>Gate</strong> <bdi>${gate.message}</bdi></p></div>
        <${Field} label="Why the gate is to let this pass"><input required maxlength="500" value=${force} onInput=${(event) => setForce(event.target.value)} /><//>`}
      <${Problem} error=${gate ? null : error} />
      <footer class="row end"><button type="button" onClick=${onClose}>Cancel</button><button type="submit" class="bad main" disabled=${!reason.trim()}>Remove</button></footer>
    </form><//>`;
}
