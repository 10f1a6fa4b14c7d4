// The overview: what is wrong first, with the next action; then how everything is.

import { CONFIGS, GATEWAY, get } from "./api.js";
import { useLive } from "./live.js";
import {
  Ago, Badge, Empty, Name, Panel, Problem, Table, bytes, count, html, place, span, useEffect,
  useEvery, useNow, useRef, useState,
} from "./parts.js";

const heightNow = () => (innerWidth < 700 ? 180 : 300);
const SHOWN_S = 300; // Of the chart: the newest stand at its right edge from the start.
const ORDER = { bad: 0, warn: 1 };

export const ageOf = (replica, now = Date.now()) => replica.age_s + (now - replica.heard) / 1000;

/** The state of a replica in a tone and a word, as sie-config judges it. */
export const stateOf = (replica) => [replica.tone, replica.word];

const shown = (each) => ({
  id: each.id,
  tone: each.tone,
  what: each.what,
  said: each.evidence,
  next: each.cure,
  command: each.command,
  ...wayOf(each),
});

/** The page of the console where something can be done about it. */
function wayOf({ id, model }) {
  if (model) return { link: place("history", { kind: "model", key: model }), act: "See its changes" };
  if (id === "letters") return { link: place("queue"), act: "See them, run them again or drop them" };
  if (id.startsWith("queue ")) return { link: place("queue"), act: "See the queue" };
  return {};
}

/** Everything that is wrong, the worst first: `{ id, tone, what, said, next, command, link }`.
 *  The services judge; a page alone can tell only that they do not answer. */
export function problemsOf(told, cluster) {
  const found = [...told.troubles, ...((cluster && cluster.value && cluster.value.troubles) || [])].map(shown);
  if (told.state === "lost") {
    found.push({ tone: "bad", id: "feed", what: "sie-config does not answer", next: "What is shown is what was known last. Workers and gateways go on serving; see whether sie-config runs." });
  }
  if (cluster && cluster.error) {
    found.push({ tone: "bad", id: "gateway", what: "The gateway does not answer", said: cluster.error.message });
  }
  return found.sort((a, b) => ORDER[a.tone] - ORDER[b.tone]);
}

function Problems({ problems, known, gateway }) {
  if (!problems.length && !known) {
    return html`<section class="calm" aria-label="State"><${Badge}>Looking…<//></section>`;
  }
  if (!problems.length) {
    return html`<section class="calm" aria-label="State"><${Badge} tone="ok">Nothing is wrong<//>
      <span>Every replica is at the head, and the writer takes writes${gateway ? "; workers are ready" : ""}.</span></section>`;
  }
  return html`<section aria-label="What is wrong"><ul class="problems">
    ${problems.map((each) => html`<li key=${each.id} class=${each.tone} data-problem=${each.id}>
      <${Badge} tone=${each.tone}><bdi>${each.what}</bdi><//>
      <p>${each.said && html`<bdi>${each.said}</bdi>${each.next && ". "}`}${each.next} ${each.command && html`<code><bdi>${each.command}</bdi></code>`}</p>
      ${each.link && html`<a class="button" href=${each.link}>${each.act}</a>`}
    </li>`)}</ul></section>`;
}

const Tile = ({ title, value, children, tone = "" }) => html`<div class="tile ${tone}">
  <dt>${title}</dt><dd><span class="value">${value}</span>${children && html`<span class="more">${children}</span>`}</dd></div>`;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function Chart({ points }) {
  const box = useRef(null);
  const chart = useRef(null);
  const series = () => [points.map((each) => each.at), points.map((each) => each.head),
    points.map((each) => each.first), points.map((each) => each.last)];
  useEffect(() => {
    const make = () => {
      if (!box.current) return;
      if (chart.current) chart.current.destroy();
      // Before the first moment is told, the scale ends at Unix time 0: no clock shows that.
      const clock = { values: (_, moments) => moments.map((each) => (each > 60 ? new Date(each * 1000).toTimeString().slice(0, 8) : "")), space: 90 };
      const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 }, font: "12px system-ui" };
      chart.current = new uPlot({
        width: box.current.clientWidth,
        height: heightNow(),
        legend: { live: false },
        cursor: { y: false },
        scales: {
          // A flat line is drawn in the middle, with whole epochs around it.
          x: { range: (_, low, high) => [high - Math.max(60, Math.min(SHOWN_S, high - low)), high] },
          y: { range: (_, low, high) => (high - low < 4 ? [Math.max(0, low - 2), high + 2] : [low, high + 1]) },
        },
        axes: [{ ...axis, ...clock }, { ...axis, size: 56, incrs: [1, 2, 5, 10, 20, 50, 100, 500, 1000, 5000, 10000, 100000] }],
        series: [
          {},
          { label: "head", stroke: css("--accent"), width: 2, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) },
          { label: "first replica", stroke: css("--ok"), width: 2, dash: [6, 4], points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) },
          { label: "last replica", stroke: css("--warn"), width: 2, dash: [2, 4], points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) },
        ],
      }, series(), box.current);
    };
    make();
    const sized = new ResizeObserver(() => box.current && chart.current.setSize({ width: box.current.clientWidth, height: heightNow() }));
    sized.observe(box.current);
    const themed = new MutationObserver(make);
    themed.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    const system = matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener("change", make);
    return () => {
      sized.disconnect();
      themed.disconnect();
      system.removeEventListener("change", make);
      chart.current.destroy();
    };
  }, []);
  const length = points.length && points[points.length - 1].at;
  useEffect(() => {
    if (chart.current) chart.current.setData(series());
  }, [length]);
  const last = points[points.length - 1];
  const text = last ? `The head is at epoch ${last.head}; replicas are at ${last.last ?? "none"} to ${last.first ?? "none"}.` : "No data yet.";
  return html`<div class="chart" ref=${box} role="img" aria-label="Applied epochs against the head over five minutes. ${text}"></div>`;
}

export const Changes = ({ entry, most = 3 }) => html`<span class="changes">
  ${entry.changes.slice(0, most).map((each) => html`<span class="change" key=${each.kind + each.key}>
    ${each.key ? html`<span class="verb ${each.verb}">${each.verb}</span> ${each.kind} <${Name}>${each.key}<//>` : each.kind}</span>`)}
  ${entry.changed > Math.min(most, entry.changes.length) && html`<span class="soft">and ${entry.changed - Math.min(most, entry.changes.length)} more</span>`}</span>`;

export function Overview({ may }) {
  const told = useLive();
  const now = useNow(1000);
  const cluster = useEvery((signal) => (may.gateway ? get(`${GATEWAY}health`, { models: "false" }, signal) : null), [], 3000);
  const [traffic, keep] = useState([]);
  const epoch = told.head ? told.head.epoch : 0;
  // Before the head is told, an answer would be thrown away with it: the first telling asks anew.
  const known = Boolean(told.head) || told.state === "lost";
  const newest = useEvery((signal) => (known ? get(`${CONFIGS}entries`, { limit: 6 }, signal) : null), [epoch, known], 60000);
  useEffect(() => {
    if (cluster.value) keep((before) => [...before.slice(-59), cluster.value.cluster.total_qps]);
  }, [cluster.value]);
  const problems = problemsOf(told, cluster);
  const health = cluster.value;
  const workers = health ? health.workers : [];
  const ready = workers.filter((each) => each.healthy).length;
  const waiting = workers.reduce((sum, each) => sum + each.queue_depth, 0);
  const well = told.replicas.filter((each) => stateOf(each)[0] === "ok").length;
  const writer = told.head ? told.head.writer.state : "–";
  // Each telling of the replicas is a point of the chart: before the first, nobody knows how many.
  const counted = told.points.length > 0;
  const last = newest.value && newest.value.entries[0];
  return html`
    <${Problems} problems=${problems} known=${told.head && (!may.gateway || health || cluster.error)} gateway=${may.gateway} />
    <dl class="tiles">
      <${Tile} title="Head" value=${epoch || "–"}>${last && html`<${Ago} ts=${last.ts} /> by <${Name} mono=${false}>${last.actor}<//>`}<//>
      <${Tile} title="Writer" value=${writer} tone=${!told.head || writer === "serving" ? "" : "bad"}>${told.head && `term ${told.head.term}`}<//>
      <${Tile} title="Replicas" value=${counted ? `${well} / ${told.total}` : "–"} tone=${well < told.total ? "warn" : ""}>at the head<//>
      ${may.gateway && html`
        <${Tile} title="Workers" value=${health ? `${ready} / ${workers.length}` : "–"} tone=${health && !ready ? "bad" : ""}>${health ? `${count(health.cluster.models_loaded, "model")} loaded` : ""}<//>
        <${Tile} title="Queue" value=${health ? waiting : "–"}>items waiting<//>
        <${Tile} title="Traffic" value=${health ? health.cluster.total_qps.toFixed(1) : "–"}>jobs a second <${Spark} values=${traffic} /><//>`}
    </dl>
    <div class="columns">
      <${Panel} title="Applied against the head" class="grow"><${Chart} points=${told.points} /><//>
      <${Panel} title="Newest changes" extra=${html`<a href=${place("history")}>History</a>`}>
        <${Problem} error=${newest.error} />
        <ol class="newest">${(newest.value ? newest.value.entries : []).map((each) => html`<li key=${each.epoch}>
          <a href=${place("history", { epoch: each.epoch })}><span class="epoch">${each.epoch}</span> <${Changes} entry=${each} most=${1} /></a>
          <span class="soft"><${Ago} ts=${each.ts} /> · <${Name} mono=${false}>${each.actor}<//></span></li>`)}</ol>
      <//>
    </div>
    <${Panel} title="Replicas" extra=${told.total > told.replicas.length && html`<span class="soft">the ${told.replicas.length} that need it most, of ${told.total}</span>`}>
      <${Table} caption="Replicas" rows=${told.replicas} keyOf=${(each) => `${each.role} ${each.id}`} empty="No replica reports."
        columns=${[
          ["Replica", (each) => html`${each.role} <${Name}>${each.id}<//>`],
          ["State", (each) => { const [tone, word] = stateOf(each); return html`<span data-replica="${each.role} ${each.id}"><${Badge} tone=${tone}>${word}<//></span>`; }],
          ["Epoch", (each) => each.epoch, "number"],
          ["Behind", (each) => (each.lag === null ? "–" : each.lag), "number"],
          ["Heard", (each) => `${span(ageOf(each, now))} ago`, "number"],
          ["Place", (each) => (each.place ? each.place.join(" · ") : "–")],
          ["Models loaded", (each) => (each.role === "worker" ? each.loaded : "–"), "number"],
        ]} />
    <//>
    ${may.gateway && html`<${Panel} title="Workers">
      <${Problem} error=${cluster.error} />
      <${Table} caption="Workers" rows=${workers} keyOf=${(each) => each.name} empty=${health ? "No worker sends heartbeats." : "They are not known while the gateway does not answer."}
        columns=${[
          ["Worker", (each) => html`<${Name}>${each.name}<//>`],
          ["State", (each) => html`<${Badge} tone=${each.healthy ? "ok" : "bad"}>${each.healthy ? "ready" : "not ready"}<//>`],
          ["Place", (each) => `${each.pool} · ${each.gpu} · ${each.bundle}`],
          ["Waiting", (each) => each.queue_depth, "number"],
          ["Jobs/s", (each) => each.qps.toFixed(1), "number"],
          ["Memory", (each) => (each.memory_total_bytes ? html`<${Meter} used=${each.memory_used_bytes} total=${each.memory_total_bytes} />` : "–")],
          ["Loaded", (each) => (each.loaded_models.length ? html`<details><summary>${count(each.loaded_models.length, "model")}</summary>${each.loaded_models.map((name) => html`<div><a href=${place("models", { key: name })}><${Name}>${name}<//></a></div>`)}</details>` : "–")],
        ]} />
    <//>`}
    ${!may.gateway && html`<${Empty}>sie-config knows no gateway (--gateway-url): workers and the playground are not shown.<//>`}`;
}

const Meter = ({ used, total }) => html`<span class="meter"><meter min="0" max="1" high="0.9" value=${used / total} aria-label="memory in use"></meter> ${bytes(used)} of ${bytes(total)}</span>`;

function Spark({ values }) {
  if (values.length < 2) return null;
  const most = Math.max(1, ...values);
  const points = values.map((each, at) => `${(at / (values.length - 1)) * 60},${16 - (each / most) * 14}`).join(" ");
  return html`<svg class="spark" viewBox="0 0 60 18" width="60" height="18" aria-hidden="true"><polyline points=${points} /></svg>`;
}
