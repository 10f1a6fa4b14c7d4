// History: who changed what, how it reached everyone, and the way back.

import { CONFIGS, KINDS, PLURALS, ask, asHeader, documentAt, get, nameOf } from "./api.js";
import { Difference, Patch } from "./diff.js";
import { More, Rows, moveInList, pageOf, withNewest } from "./lists.js";
import { useLive, useLivePart } from "./live.js";
import { Changes, stateOf } from "./overview.js";
import {
  Ago, Badge, Busy, Detail, Dialog, Empty, Field, Name, Panel, Problem, Tabs, Verb, count, go, html, place, say,
  useAsked, useEffect, usePaced, useSettled, useState,
} from "./parts.js";

const PAGE = 50;
const PAGE_MAX = 500; // As much as sie-config gives at once.

export function History({ query, may }) {
  const tab = query.tab || "timeline";
  return html`<${Tabs} label="Ways to look at history" value=${tab} onChange=${(name) => go("history", { tab: name })}
      options=${[["timeline", "Timeline"], ["travel", "Time travel"], ["compare", "Compare"]]} />
    ${tab === "timeline" && html`<${Timeline} query=${query} may=${may} />`}
    ${tab === "travel" && html`<${Travel} query=${query} may=${may} />`}
    ${tab === "compare" && html`<${Compare} query=${query} />`}`;
}

// -- the timeline --

function Timeline({ query, may }) {
  // Asked anew when the head moves, and not at each beat of the feed.
  const head = usePaced(useLivePart((told) => (told.head ? told.head.epoch : 0)));
  const resets = useLivePart((told) => told.resets);
  const filters = { actor: query.actor || undefined, kind: query.kind || undefined, key: query.key || undefined, at: query.at || undefined };
  const wanted = useSettled(JSON.stringify(filters), 200);
  const round = `${resets} ${wanted}`;
  const [list, keep] = useState({ round, pages: [], next: null });
  const [error, fail] = useState(null);
  const first = list.pages.length ? list.pages[0].rows[0] : undefined;
  const newest = useAsked(async (signal) => {
    // Under a filter nobody knows how many came: its newest entry may be far below the head.
    const known = first && list.round === round && wanted === "{}" ? first.epoch : Infinity;
    const reaching = (epoch) => Math.min(PAGE_MAX, Math.max(PAGE, epoch - known + 1));
    let limit = reaching(head);
    const asked = () => get(`${CONFIGS}entries`, { ...JSON.parse(wanted), limit }, signal);
    let page = await asked();
    // More may have come since the head was told: an answer that ends above what is known would lose the reader's place.
    while (page.entries.length && reaching(page.entries[0].epoch) > limit) {
      limit = reaching(page.entries[0].epoch);
      page = await asked();
    }
    return { round, page };
  }, [round, JSON.parse(wanted).at ? 0 : head]); // What was up to a moment stays as it is.
  useEffect(() => {
    if (!newest.value || newest.value.round !== round) return;
    const { page } = newest.value;
    keep((before) => {
      const pages = withNewest(before.round === round ? before.pages : [], page);
      return { round, pages, next: before.round === round && pages.includes(before.pages.at(-1)) ? before.next : page.next_before };
    });
  }, [newest.value]);
  const [asking, ask_] = useState(false);
  const more = async () => {
    ask_(true);
    try {
      const page = await get(`${CONFIGS}entries`, { ...JSON.parse(wanted), limit: PAGE, before: list.next });
      keep((before) => (before.next === list.next && before.round === round ? { ...before, pages: [...before.pages, pageOf(page.entries)], next: page.next_before } : before));
      fail(null);
    } catch (refused) {
      fail(refused);
    }
    ask_(false);
  };
  const chosen = Number(query.epoch) || (first && first.epoch);
  const holds = ({ rows }) => rows.length > 0 && rows[0].epoch >= chosen && rows[rows.length - 1].epoch <= chosen;
  const holder = list.pages.find(holds);
  const choose = (epoch) => go("history", { ...filters, epoch });
  const filter = (name) => (text) => go("history", { ...filters, epoch: undefined, [name]: text });
  const draw = (each) => html`<li key=${each.epoch}>
    <button type="button" class="entry" aria-pressed=${each.epoch === chosen} data-epoch=${each.epoch} onClick=${() => choose(each.epoch)}>
      <span class="epoch">${each.epoch}</span>
      <span class="what">${each.reason ? html`<bdi class="reason">${each.reason}</bdi>` : html`<${Changes} entry=${each} most=${1} />`}
        ${(each.reason || each.changed !== 1) && html`<span class="soft">${each.changed === 1 ? html`<${Changes} entry=${each} most=${1} />` : count(each.changed, "change")}</span>`}
        <span class="soft"><${Name} mono=${false}>${each.actor}<//> · <${Ago} ts=${each.ts} />${each.forced && html` · <${Badge} tone="warn">forced<//>`}</span>
      </span></button></li>`;
  return html`<div class="split">
    <${Panel} title="Entries" class="list" extra=${html`<${Busy} when=${newest.busy && !newest.value} />`}>
      <form class="filters" onSubmit=${(event) => event.preventDefault()}>
        <${Field} label="Kind"><select value=${query.kind || ""} onChange=${(event) => filter("kind")(event.target.value)}>
          <option value="">all</option>${KINDS.map((kind) => html`<option value=${kind}>${kind}</option>`)}</select><//>
        <${Field} label="Name"><${Typed} value=${query.key || ""} onDone=${filter("key")} placeholder="org/model" /><//>
        <${Field} label="Actor"><${Typed} value=${query.actor || ""} onDone=${filter("actor")} /><//>
        <${Field} label="Up to"><${Typed} value=${query.at || ""} onDone=${filter("at")} placeholder="epoch or time" /><//>
      </form>
      <${Problem} error=${newest.error} />
      ${!newest.busy && !newest.error && !first && html`<${Empty}>No entry is like that.<//>`}
      <div class="timeline" data-newest=${first && first.epoch} onKeyDown=${moveInList}>
        ${list.pages.map((page) => html`<${Rows} key=${page.id} rows=${page.rows} draw=${draw} wants=${[page === holder && chosen, list.round]} />`)}
        <${Problem} error=${error} />
        ${list.next && list.round === round && html`<${error ? Again : More} key=${list.next} busy=${asking} onMore=${more}>Older<//>`}</div>
    <//>
    <${Detail} of=${query.epoch} after=${Boolean(first)}>${chosen ? html`<${Entry} key=${chosen} epoch=${chosen} row=${holder && holder.rows.find((each) => each.epoch === chosen)} may=${may} />` : html`<${Empty}>Choose an entry.<//>`}<//>
  </div>`;
}

/** A text that counts once it is done. What is typed meanwhile outlives whatever is drawn anew. */
function Typed({ value, onDone, placeholder }) {
  const [text, set] = useState(value);
  useEffect(() => set(value), [value]);
  return html`<input value=${text} placeholder=${placeholder} onInput=${(event) => set(event.target.value)} onChange=${(event) => onDone(event.target.value.trim())} />`;
}

/** Where the last try failed, nothing is asked again by itself. */
const Again = ({ onMore, busy }) => html`<button type="button" class="wide" disabled=${busy} onClick=${onMore}>Try again</button>`;

function Entry({ epoch, row, may }) {
  const [revert, ask_] = useState(null);
  const [chosen, choose] = useState(0);
  const asked = useAsked((signal) => get(`${CONFIGS}entries/${epoch}`, undefined, signal), [epoch]);
  if (asked.error) return html`<${Problem} error=${asked.error} />`;
  if (!asked.value) return html`<${Busy} when=${true} />`;
  const entry = bodyOf(asked.value);
  const changes = (entry.changes || []).filter((each) => each.key).map((each) => {
    const [kind, verb] = each.kind.split(".");
    return { kind, verb, key: each.key };
  });
  const shown = changes[chosen];
  return html`
    <${Panel} title="Epoch ${epoch}" class="head-of-entry"
      extra=${html`<span class="row">
        <a class="button" href=${place("history", { tab: "travel", at: epoch })}>See everything then</a>
        ${epoch > 1 && html`<a class="button" href=${place("history", { tab: "compare", from: epoch })}>Compare with now</a>`}
        ${may.propose && changes.length > 0 && html`<button type="button" class="main" data-testid="undo" onClick=${() => ask_({ to: epoch - 1, entities: changes.map(({ kind, key }) => ({ kind, key })) })}>Undo this…</button>`}
        ${may.propose && html`<button type="button" data-testid="revert" onClick=${() => ask_({ to: epoch })}>Revert all to here…</button>`}</span>`}>
      <dl class="facts">
        <dt>When</dt><dd><${Ago} ts=${entry.ts} /> <span class="soft">${new Date(entry.ts).toLocaleString()}</span></dd>
        <dt>Who</dt><dd><${Name} mono=${false}>${entry.actor}<//></dd>
        <dt>Why</dt><dd>${entry.reason ? html`<bdi>${entry.reason}</bdi>` : html`<span class="soft">no reason given</span>`}</dd>
        ${entry.forced && html`<dt>Forced</dt><dd><${Badge} tone="warn"><bdi>${entry.forced}</bdi><//></dd>`}
        <dt>Hash</dt><dd class="mono soft">${asked.value.hash || (row && row.hash)}</dd>
      </dl>
      <${Propagation} epoch=${epoch} />
    <//>
    ${changes.length > 0 && html`<${Panel} title=${count(changes.length, "change")}>
      ${changes.length > 1 && html`<div class="chips" role="group" aria-label="Changes">${changes.slice(0, 60).map((each, at) => html`
        <button type="button" key=${at} aria-pressed=${at === chosen} onClick=${() => choose(at)}><span class="verb ${each.verb}">${each.verb}</span> ${each.kind} <${Name}>${each.key}<//></button>`)}
        ${changes.length > 60 && html`<span class="soft">and ${changes.length - 60} more: compare moments to see them</span>`}</div>`}
      <${Change} key=${`${shown.kind} ${shown.key}`} change=${shown} epoch=${epoch} may=${may} alone=${changes.length === 1} onUndo=${() => ask_({ to: epoch - 1, entities: [{ kind: shown.kind, key: shown.key }] })} />
    <//>`}
    ${changes.length === 0 && html`<${Empty}>${(entry.changes || []).map((each) => each.kind).join(", ")}: nothing that is served changed.<//>`}
    ${revert && html`<${Revert} wanted=${revert} may=${may} onClose=${() => ask_(null)} />`}`;
}

/** An envelope holds the body as a text: its bytes are what was hashed. */
function bodyOf(envelope) {
  for (const part of [envelope.body, envelope.entry]) {
    if (typeof part === "string") return JSON.parse(part);
    if (part) return part;
  }
  return envelope;
}

function Change({ change, epoch, may, alone, onUndo }) {
  const { kind, key } = change;
  const asked = useAsked(async (signal) => {
    const [before, after, history] = await Promise.all([
      documentAt(kind, key, epoch - 1, signal),
      documentAt(kind, key, epoch, signal),
      get(`${CONFIGS}${PLURALS[kind]}/${key.split("/").map(encodeURIComponent).join("/")}/history`,
        { after: epoch - 1, limit: 1, at: epoch, diff: "true" }, signal),
    ]);
    return { before, after, patch: history.history.length ? history.history[0].patch : [] };
  }, [kind, key, epoch]);
  return html`<div class="change-of">
    <p class="row"><${Verb} verb=${change.verb} /> ${kind} <${Name}>${key}<//>
      <a href=${place("history", { kind, key })}>its history</a>
      ${kind === "model" && html`<a href=${place("models", { key })}>open</a>`}
      ${may.propose && !alone && html`<button type="button" class="quiet" onClick=${onUndo}>Undo this one…</button>`}</p>
    <${Problem} error=${asked.error} />
    ${asked.value ? html`<${Difference} before=${asked.value.before} after=${asked.value.after} patch=${asked.value.patch}
      left=${`epoch ${epoch - 1}`} right=${`epoch ${epoch}`} />` : html`<${Busy} when=${asked.busy} />`}</div>`;
}

function Propagation({ epoch }) {
  const live = useLive();
  if (!live.replicas.length) return null;
  const there = live.replicas.filter((each) => each.lag !== null && each.epoch >= epoch);
  return html`<div class="propagation" aria-label="Propagation">
    <span class="soft">On ${there.length} of ${live.replicas.length} replicas</span>
    ${live.replicas.slice(0, 40).map((each) => {
      const [tone, word] = stateOf(each);
      const has = each.lag !== null && each.epoch >= epoch;
      return html`<span class="chip" key=${each.role + each.id} title="${each.role} ${each.id}: epoch ${each.epoch}, ${word}">
        <${Badge} tone=${has && tone !== "bad" ? "ok" : tone === "ok" ? "warn" : tone}>${each.role} <${Name}>${each.id}<//>${has ? "" : ` at ${each.epoch}`}${tone === "bad" ? ` · ${word}` : ""}<//></span>`;
    })}</div>`;
}

// -- the way back --

export function Revert({ wanted, may, onClose }) {
  const [reason, setReason] = useState("");
  const [force, setForce] = useState("");
  const [error, fail] = useState(null);
  const [busy, work] = useState(false);
  const trial = useAsked(
    async () => (await ask("POST", `${CONFIGS}revert`, { query: { dry_run: "true" }, body: wanted, headers: force ? { "x-sie-force": asHeader(force) } : {} })).value,
    [JSON.stringify(wanted)],
  );
  const gated = error && error.code === "FORCE_REQUIRED" ? error : trial.error && trial.error.code === "FORCE_REQUIRED" ? trial.error : null;
  const found = trial.value;
  const dark = found ? found.dark : [];
  const needsForce = Boolean(gated) || dark.length > 0;
  const submit = async (event) => {
    event.preventDefault();
    work(true);
    fail(null);
    try {
      const headers = { "x-sie-reason": asHeader(reason) };
      // What was shown is what is made: a change by somebody else meanwhile is a conflict.
      if (found) headers["if-match-epoch"] = String(found.epoch - (found.changed ? 1 : 0));
      if (force) headers["x-sie-force"] = asHeader(force);
      const { value } = await ask("POST", `${CONFIGS}revert`, { body: wanted, headers });
      say(`reverted: epoch ${value.epoch}`);
      onClose();
      go("history", { epoch: value.epoch });
    } catch (refused) {
      fail(refused);
      work(false);
    }
  };
  const title = wanted.entities ? `Undo: back to epoch ${wanted.to}` : `Revert everything to epoch ${wanted.to}`;
  return html`<${Dialog} title=${title} onClose=${onClose} wide=${true}>
    <form onSubmit=${submit}>
      <p class="soft">History only grows: this writes a new entry that restores the older state.</p>
      <${Busy} when=${trial.busy} />
      <${Problem} error=${gated ? null : trial.error} />
      ${found && !found.changed && html`<${Empty}>Nothing would change: it is so already.<//>`}
      ${found && found.changed && html`
        <ul class="human">${found.human.slice(0, 200).map((line) => html`<li class=${{ "+": "come", "-": "gone", "!": "warn" }[line[0]] || ""}><bdi>${line}</bdi></li>`)}
          ${found.human.length > 200 && html`<li class="soft">and ${found.human.length - 200} more lines</li>`}</ul>
        <details><summary>JSON Patch</summary><${Patch} patch=${found.patch} /></details>
        <p class="soft">${count(found.replicas.length, "replica")} will follow: ${found.replicas.slice(0, 8).map((each) => `${each.role} ${each.id}`).join(", ")}</p>`}
      ${dark.length > 0 && html`<div class="problem" role="alert"><p><strong>Gate</strong> ${count(dark.length, "model")} in use could not be served any more.</p></div>`}
      ${gated && html`<div class="problem" role="alert"><p><strong>Gate</strong> <bdi>${gated.message}</bdi></p></div>`}
      <${Field} label="Reason" hint="Kept in the log, for whoever reads it at night.">
        <input name="reason" required autofocus maxlength="500" value=${reason} onInput=${(event) => setReason(event.target.value)} /><//>
      ${needsForce && html`<${Field} label="Why the gate is to let this pass"><input name="force" required maxlength="500" value=${force} onInput=${(event) => setForce(event.target.value)} /><//>`}
      <${Problem} error=${gated ? null : error} />
      <footer class="row end">
        <button type="button" onClick=${onClose}>Cancel</button>
        ${may.write && html`<button type="submit" class="bad main" data-testid="do-revert" disabled=${busy || !reason.trim() || (found && !found.changed) || (needsForce && !force.trim())}>${busy ? "Reverting…" : "Revert"}</button>`}
      </footer>
    </form><//>`;
}

// -- time travel --

function Travel({ query, may }) {
  const live = useLive();
  const head = live.head ? live.head.epoch : 1;
  const asked = Number(query.at) || head;
  const [at, move] = useState(asked);
  const [kind, setKind] = useState("model");
  const [after, setAfter] = useState([]);
  const [open, choose] = useState(null);
  const [revert, ask_] = useState(null);
  const settled = useSettled(Math.min(Math.max(1, at), head), 120);
  useEffect(() => move(asked), [query.at]);
  useEffect(() => { setAfter([]); choose(null); }, [settled, kind]);
  const start = after.length ? after[after.length - 1] : "";
  const entry = useAsked((signal) => get(`${CONFIGS}entries`, { at: settled, limit: 1 }, signal), [settled]);
  const rows = useAsked((signal) => get(`${CONFIGS}${PLURALS[kind]}`, { at: settled, after: start, limit: 50 }, signal), [settled, kind, start]);
  const list = rows.value ? rows.value[PLURALS[kind]] : [];
  const shown = entry.value && entry.value.entries[0];
  return html`<${Panel} title="The registry as it was" extra=${html`<span class="row">
      ${may.propose && settled < head && html`<button type="button" onClick=${() => ask_({ to: settled })}>Revert all to here…</button>`}
      <a class="button" href=${place("history", { tab: "compare", from: settled })}>Compare with now</a></span>`}>
    <div class="travel">
      <button type="button" aria-label="One epoch back" disabled=${at <= 1} onClick=${() => move(Math.max(1, at - 1))}>◀</button>
      <label class="grow"><span class="hidden">Epoch</span>
        <input type="range" data-testid="slider" min="1" max=${head} value=${at} onInput=${(event) => move(Number(event.target.value))} aria-valuetext="epoch ${at}" /></label>
      <button type="button" aria-label="One epoch on" disabled=${at >= head} onClick=${() => move(Math.min(head, at + 1))}>▶</button>
      <label><span class="hidden">Epoch, as a number</span><input class="epoch-box" type="number" min="1" max=${head} value=${at} onInput=${(event) => move(Number(event.target.value) || 1)} /></label>
    </div>
    <p class="moment" aria-live="polite">${shown ? html`<strong data-testid="moment">Epoch ${settled}</strong> · ${new Date(shown.ts).toLocaleString()} · <${Name} mono=${false}>${shown.actor}<//> · <bdi>${shown.reason || "no reason given"}</bdi>` : html`<${Busy} when=${true} />`}</p>
    <${Tabs} label="Kind" value=${kind} options=${KINDS.map((each) => [each, PLURALS[each]])} onChange=${setKind} />
    <${Problem} error=${rows.error} />
    ${list.length === 0 && !rows.busy && html`<${Empty}>There was no ${kind} then.<//>`}
    <ul class="entities">${list.map((each) => {
      const name = nameOf(kind, each);
      return html`<li key=${name}><button type="button" class="entity" aria-expanded=${open === name} onClick=${() => choose(open === name ? null : name)}>
        <${Name}>${name}<//><span class="soft">changed at ${each.modified_epoch}</span></button>
        ${open === name && html`<${ThenAndNow} kind=${kind} name=${name} then=${each.document} at=${settled} may=${may} onRevert=${() => ask_({ to: settled, entities: [{ kind, key: name }] })} />`}</li>`;
    })}</ul>
    <div class="row">
      ${after.length > 0 && html`<button type="button" onClick=${() => setAfter(after.slice(0, -1))}>Before</button>`}
      ${rows.value && rows.value.next_after && html`<button type="button" onClick=${() => setAfter([...after, rows.value.next_after])}>More</button>`}</div>
    ${revert && html`<${Revert} wanted=${revert} may=${may} onClose=${() => ask_(null)} />`}
  <//>`;
}

function ThenAndNow({ kind, name, then, at, may, onRevert }) {
  const now = useAsked((signal) => documentAt(kind, name, undefined, signal), [kind, name]);
  if (now.error) return html`<${Problem} error=${now.error} />`;
  if (now.busy && now.value === undefined) return html`<${Busy} when=${true} />`;
  const same = JSON.stringify(now.value) === JSON.stringify(then);
  return html`<div class="inside">
    ${now.value === null && html`<p><${Badge} tone="warn">it is not there any more<//></p>`}
    <${Difference} before=${then} after=${now.value} patch=${null} left=${`epoch ${at}`} right="now" />
    ${may.propose && !same && html`<button type="button" onClick=${onRevert}>Bring this one back…</button>`}</div>`;
}

// -- two moments --

const COMPARED = 200;

function Compare({ query }) {
  const [from, setFrom] = useState(query.from || "");
  const [to, setTo] = useState(query.to || "");
  const [open, choose] = useState(null);
  const [after, goOn] = useState([]);
  useEffect(() => { setFrom(query.from || ""); setTo(query.to || ""); goOn([]); }, [query.from, query.to]);
  const start = after.length ? after[after.length - 1] : "";
  const asked = useAsked((signal) => (query.from ? get(`${CONFIGS}diff`, { from: query.from, to: query.to, limit: COMPARED, after: start }, signal) : null), [query.from, query.to, start]);
  const found = asked.value;
  const submit = (event) => { event.preventDefault(); go("history", { tab: "compare", from, to }); };
  return html`<${Panel} title="Two moments">
    <form class="filters" onSubmit=${submit}>
      <${Field} label="From"><input required value=${from} placeholder="epoch or 2026-01-31T12:00:00Z" onInput=${(event) => setFrom(event.target.value.trim())} /><//>
      <${Field} label="To"><input value=${to} placeholder="now" onInput=${(event) => setTo(event.target.value.trim())} /><//>
      <button type="submit" class="main">Compare</button>
    </form>
    <${Problem} error=${asked.error} /><${Busy} when=${asked.busy && Boolean(query.from)} />
    ${found && html`<p>Epoch ${found.from.epoch} <span class="soft">(${new Date(found.from.ts).toLocaleString()})</span> to ${found.to.epoch} <span class="soft">(${new Date(found.to.ts).toLocaleString()})</span>: <strong>${count(found.changes.length, "difference")}</strong>${(start || found.next_after) && " of several pages, by kind and name"}</p>
      ${found.changes.length === 0 && html`<${Empty}>Nothing differs.<//>`}
      <ul class="entities">${found.changes.map((each) => {
        const id = `${each.kind} ${each.key}`;
        return html`<li key=${id}><button type="button" class="entity" aria-expanded=${open === id} onClick=${() => choose(open === id ? null : id)}>
          <span><${Verb} verb=${each.verb} /> ${each.kind} <${Name}>${each.key}<//></span></button>
          ${open === id && html`<${Between} kind=${each.kind} name=${each.key} from=${found.from.epoch} to=${found.to.epoch} />`}</li>`;
      })}</ul>
      <div class="row">
        ${after.length > 0 && html`<button type="button" onClick=${() => goOn(after.slice(0, -1))}>Before</button>`}
        ${found.next_after && html`<button type="button" onClick=${() => goOn([...after, found.next_after])}>More</button>`}</div>
      <details><summary>JSON Patch of what is shown</summary><${Patch} patch=${found.patch} /></details>`}
  <//>`;
}

function Between({ kind, name, from, to }) {
  const asked = useAsked(async (signal) => Promise.all([documentAt(kind, name, from, signal), documentAt(kind, name, to, signal)]), [kind, name, from, to]);
  if (asked.error) return html`<${Problem} error=${asked.error} />`;
  if (!asked.value) return html`<${Busy} when=${true} />`;
  return html`<div class="inside"><${Difference} before=${asked.value[0]} after=${asked.value[1]} patch=${null} left=${`epoch ${from}`} right=${`epoch ${to}`} /></div>`;
}
