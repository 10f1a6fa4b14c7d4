// Queue and pools: kinds of workers, what waits for them, who holds capacity, and what failed for good.

import { CONFIGS, GATEWAY, ask, get } from "./api.js";
import {
  Ago, Badge, Busy, Copy, Dialog, Empty, Name, Panel, Problem, Table, count, html, place, say, useAsked, useEvery, useState,
} from "./parts.js";

/** Workers by kind: those of one pool, hardware and bundle stand in for each other. */
function kindsOf(workers) {
  const kinds = new Map();
  for (const each of workers) {
    const name = `${each.pool} · ${each.gpu} · ${each.bundle}`;
    const kind = kinds.get(name) || { name, workers: 0, ready: 0, waiting: 0, cost: 0, batches: 0, qps: 0, fill: 0, filled: 0 };
    kind.workers += 1;
    kind.ready += each.healthy ? 1 : 0;
    kind.waiting += each.queue_depth;
    kind.cost += each.pending_cost;
    kind.batches += each.inflight_batches;
    kind.qps += each.qps;
    if (each.batch_fill) {
      kind.fill += each.batch_fill;
      kind.filled += 1;
    }
    kinds.set(name, kind);
  }
  return [...kinds.values()].sort((a, b) => b.waiting - a.waiting || a.name.localeCompare(b.name));
}

/** What failed for good. A letter goes when its job ran with success, or when it is dropped. */
function Letters({ may }) {
  const letters = useEvery((signal) => get("v1/dead-letters", { limit: 100 }, signal), [], 5000);
  const [states, set] = useState({});
  const [dropping, drop] = useState(null);
  const rows = letters.value ? letters.value.letters : [];
  const kept = rows.filter((each) => each.payload_kept);
  const is = (number, state) => set((before) => ({ ...before, [number]: state }));
  const busy = Object.values(states).includes("running");
  const retry = async (numbers) => {
    // One after another: what made them fail may be the load itself.
    for (const number of numbers) {
      is(number, "running");
      try {
        const { value } = await ask("POST", "v1/dead-letters/retry", { body: { number } });
        is(number, null);
        say(`run again by ${value.worker_id}; letter ${number} is dropped`);
      } catch (error) {
        is(number, error);
      }
      letters.again();
    }
  };
  return html`<${Panel} title="Dead letters" class=${rows.length ? "first" : ""} extra=${html`<span class="row"><${Busy} when=${letters.busy && !letters.value} />
      ${may.write && kept.length > 1 && html`<button type="button" disabled=${busy} onClick=${() => retry(kept.map((each) => each.number))}>Run all ${kept.length} again</button>`}
      ${may.write && rows.length > 1 && html`<button type="button" class="bad" disabled=${busy} onClick=${() => drop(rows)}>Drop all ${rows.length}…</button>`}</span>`}>
    <${Problem} error=${letters.error} />
    <${Table} caption="Jobs that failed for good" rows=${rows} keyOf=${(each) => each.number} empty=${letters.value ? "No job failed for good." : ""}
      columns=${[
        ["Letter", (each) => each.number],
        ["When", (each) => html`<${Ago} ts=${each.at} />`],
        ["Code", (each) => html`<${Badge} tone="bad">${each.code}<//>`],
        ["Model", (each) => html`<a href=${place("models", { key: each.model_id })}><${Name}>${each.model_id}<//></a>`],
        ["Why", (each) => html`<bdi>${each.message}</bdi><${Problem} error=${states[each.number] === "running" ? null : states[each.number]} />`],
        ["Items", (each) => each.items, "number"],
        ["Do", (each) => (may.write ? html`<span class="row">
          ${each.payload_kept
            ? html`<button type="button" disabled=${busy} onClick=${() => retry([each.number])}>${states[each.number] === "running" ? "Running…" : "Run again"}</button>`
            : html`<span class="soft" title="Workers keep what a request held only with --dead-letter-payloads true">its texts were not kept</span>`}
          <button type="button" class="bad" disabled=${busy} onClick=${() => drop([each])}>Drop…</button></span>` : html`<${Copy} text="sie dlq show ${each.number}">Copy: show<//>`)],
      ]} />
    ${letters.value && letters.value.next_after && html`<p class="soft">These are the oldest ${rows.length}; all of them: <code>sie dlq ls</code></p>`}
    ${dropping && html`<${Drop} letters=${dropping} onClose=${() => { drop(null); letters.again(); }} />`}
  <//>`;
}

function Drop({ letters, onClose }) {
  const [error, fail] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      await ask("POST", "v1/dead-letters/drop", { body: { numbers: letters.map((each) => each.number) } });
      say(`dropped ${count(letters.length, "letter")}`);
      onClose();
    } catch (found) {
      fail(found);
    }
  };
  const title = letters.length === 1 ? `Drop letter ${letters[0].number}` : `Drop ${letters.length} letters`;
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${submit}>
      <p>What is known of ${letters.length === 1 ? "this job" : "these jobs"} is forgotten for good: no revert brings it back.</p>
      <ul class="human">${letters.slice(0, 8).map((each) => html`<li class="gone">${each.number}: <${Name}>${each.model_id}<//> <bdi>${each.message}</bdi></li>`)}
        ${letters.length > 8 && html`<li class="soft">and ${letters.length - 8} more</li>`}</ul>
      <${Problem} error=${error} />
      <footer class="row end"><button type="button" onClick=${onClose}>Cancel</button>
        <button type="submit" class="bad main" data-testid="do-drop">Drop</button></footer>
    </form><//>`;
}

const share = (part) => (part < 0.01 ? "< 1 %" : `${Math.round(100 * part)} %`);

/** How long the oldest job waits; long enough to look is said in colour. */
function Age({ of }) {
  if (!of || of.oldest_s === null) return "–";
  const told = of.oldest_s < 90 ? `${of.oldest_s.toFixed(0)} s` : `${Math.round(of.oldest_s / 60)} min`;
  return of.oldest_s < 10 ? told : html`<${Badge} tone=${of.oldest_s < 60 ? "warn" : "bad"}>${told}<//>`;
}

export function Queue({ may }) {
  const health = useEvery((signal) => (may.gateway ? get(`${GATEWAY}health`, { models: "false" }, signal) : null), [], 2000);
  const leases = useEvery((signal) => (may.gateway ? get(`${GATEWAY}v1/pools`, undefined, signal) : null), [], 5000);
  const pools = useAsked((signal) => get(`${CONFIGS}pools`, { limit: 200 }, signal), []);
  const queues = useEvery((signal) => get("v1/queues", undefined, signal), [], 2000);
  const waiting = Object.fromEntries((queues.value ? queues.value.queues : []).map((each) => [each.pool, each]));
  const kinds = health.value ? kindsOf(health.value.workers) : [];
  const held = leases.value ? leases.value.pools : [];
  return html`
    ${may.gateway ? html`<${Panel} title="Workers by kind">
      <${Problem} error=${health.error} />
      <${Table} caption="Workers by kind" rows=${kinds} keyOf=${(each) => each.name} empty="No worker sends heartbeats."
        columns=${[
          ["Pool · hardware · bundle", (each) => each.name],
          ["Ready", (each) => html`<${Badge} tone=${each.ready ? "ok" : "bad"}>${each.ready} of ${each.workers}<//>`],
          ["Waiting", (each) => each.waiting, "number"],
          ["Cost waiting", (each) => each.cost, "number"],
          ["Batches running", (each) => each.batches, "number"],
          ["Batch fill", (each) => (each.filled ? share(each.fill / each.filled) : "–"), "number"],
          ["Jobs/s", (each) => each.qps.toFixed(1), "number"],
        ]} />
    <//>` : html`<${Empty}>sie-config knows no gateway (--gateway-url): workers are not shown.<//>`}
    <${Panel} title="Pools">
      <${Problem} error=${pools.error} /><${Problem} error=${queues.error} />
      <${Table} caption="Pools" rows=${pools.value ? pools.value.pools : []} keyOf=${(each) => each.name} empty="No pool."
        columns=${[
          ["Pool", (each) => html`<a href=${place("history", { kind: "pool", key: each.name })}><${Name}>${each.name}<//></a>`],
          ["Hardware", (each) => each.document.machine_profiles.join(", ")],
          ["Queued", (each) => (waiting[each.name] ? `${waiting[each.name].jobs} of ${waiting[each.name].jobs_max}` : "–"), "number"],
          ["Oldest waits", (each) => html`<${Age} of=${waiting[each.name]} />`, "number"],
          ["Workers at least", (each) => each.document.workers_min, "number"],
          ["Pinned models", (each) => each.document.pinned_models.length, "number"],
          ["Changed at", (each) => html`<a href=${place("history", { epoch: each.modified_epoch })}>epoch ${each.modified_epoch}</a>`],
        ]} />
    <//>
    ${may.gateway && html`<${Panel} title="Capacity held">
      <${Problem} error=${leases.error} />
      <${Table} caption="Capacity held" rows=${held} keyOf=${(each) => each.name} empty="Nobody holds capacity."
        columns=${[
          ["Name", (each) => html`<${Name}>${each.name}<//>`],
          ["Kind", (each) => each.kind || "lease"],
          ["State", (each) => html`<${Badge} tone=${each.state === "active" ? "ok" : "idle"}>${each.state}<//>`],
          ["Workers", (each) => each.worker_count, "number"],
        ]} />
    <//>`}
    ${may.audit && html`<${Letters} may=${may} />`}`;
}
