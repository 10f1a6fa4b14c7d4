// Queue and pools: lanes, what waits there, who holds capacity, and what failed for good.

import { CONFIGS, GATEWAY, get } from "./api.js";
import {
  Ago, Badge, Busy, Copy, Empty, Name, Panel, Problem, Table, html, place, useAsked, useEvery,
} from "./parts.js";

/** Workers by lane: those of one pool, hardware and bundle stand in for each other. */
function lanesOf(workers) {
  const lanes = new Map();
  for (const each of workers) {
    const name = `${each.pool} · ${each.gpu} · ${each.bundle}`;
    const lane = lanes.get(name) || { name, workers: 0, ready: 0, waiting: 0, cost: 0, batches: 0, qps: 0, fill: 0, filled: 0 };
    lane.workers += 1;
    lane.ready += each.healthy ? 1 : 0;
    lane.waiting += each.queue_depth;
    lane.cost += each.pending_cost;
    lane.batches += each.inflight_batches;
    lane.qps += each.qps;
    if (each.batch_fill) {
      lane.fill += each.batch_fill;
      lane.filled += 1;
    }
    lanes.set(name, lane);
  }
  return [...lanes.values()].sort((a, b) => b.waiting - a.waiting || a.name.localeCompare(b.name));
}

/** What failed for good. Running one again is an operator's, at the broker: the command is here. */
function Letters() {
  const letters = useEvery((signal) => get("v1/dead-letters", { limit: 100 }, signal), [], 5000);
  const rows = letters.value ? letters.value.letters : [];
  return html`<${Panel} title="Dead letters" extra=${html`<${Busy} when=${letters.busy && !letters.value} />`}>
    <${Problem} error=${letters.error} />
    <${Table} caption="Jobs that failed for good" rows=${rows} keyOf=${(each) => each.number} empty="No job failed for good."
      columns=${[
        ["Letter", (each) => each.number],
        ["When", (each) => html`<${Ago} ts=${each.at} />`],
        ["Code", (each) => html`<${Badge} tone="bad">${each.code}<//>`],
        ["Model", (each) => html`<a href=${place("models", { key: each.model_id })}><${Name}>${each.model_id}<//></a>`],
        ["Why", (each) => html`<bdi>${each.message}</bdi>`],
        ["Items", (each) => each.items, "number"],
        ["Do", (each) => html`<span class="row">
          ${each.payload_kept && html`<${Copy} text="sie dlq retry ${each.number}">Copy: run again<//>`}
          <${Copy} text="sie dlq drop ${each.number}">Copy: drop<//></span>`],
      ]} />
    ${letters.value && letters.value.next_after && html`<p class="soft">and more: <code>sie dlq ls</code></p>`}
  <//>`;
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
  const lanes = health.value ? lanesOf(health.value.workers) : [];
  const held = leases.value ? leases.value.pools : [];
  return html`
    ${may.gateway ? html`<${Panel} title="Lanes">
      <${Problem} error=${health.error} />
      <${Table} caption="Lanes" rows=${lanes} keyOf=${(each) => each.name} empty="No worker sends heartbeats."
        columns=${[
          ["Pool · hardware · bundle", (each) => each.name],
          ["Ready", (each) => html`<${Badge} tone=${each.ready ? "ok" : "bad"}>${each.ready} of ${each.workers}<//>`],
          ["Waiting", (each) => each.waiting, "number"],
          ["Cost waiting", (each) => each.cost, "number"],
          ["Batches running", (each) => each.batches, "number"],
          ["Batch fill", (each) => (each.filled ? share(each.fill / each.filled) : "–"), "number"],
          ["Jobs/s", (each) => each.qps.toFixed(1), "number"],
        ]} />
    <//>` : html`<${Empty}>sie-config knows no gateway (--gateway-url): lanes are not shown.<//>`}
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
    ${may.audit && html`<${Letters} />`}`;
}
