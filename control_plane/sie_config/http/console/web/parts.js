// The parts that every view is made of.

import { h, Fragment } from "./vendor/preact.js";
import {
  useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState,
} from "./vendor/hooks.js";
import htm from "./vendor/htm.js";

export { Fragment, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState };
export const html = htm.bind(h);

let lastId = 0;
export const useId = () => useMemo(() => `p${(lastId += 1)}`, []);

/** What a promise comes to; anew when `wants` change. The old value stays until the new is there. */
export function useAsked(make, wants) {
  const [found, set] = useState({ value: undefined, error: null, busy: true });
  const [round, again] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    set((before) => ({ ...before, busy: true }));
    Promise.resolve()
      .then(() => make(stop.signal))
      .then(
        (value) => stop.signal.aborted || set({ value, error: null, busy: false }),
        (error) => stop.signal.aborted || set({ value: undefined, error, busy: false }),
      );
    return () => stop.abort();
  }, [...wants, round]);
  return { ...found, again: () => again((count) => count + 1) };
}

/** The same every few seconds, while the page is looked at. */
export function useEvery(make, wants, everyMs) {
  const asked = useAsked(make, wants);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || asked.again(), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return asked;
}

/** A value, once it was the same for a moment. */
export function useSettled(value, ms = 250) {
  const [settled, set] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => set(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}

/** A value that changes at most every so often, and is the newest one soon: a log may be written to
    faster than it is looked at. */
export function usePaced(value, ms = 400) {
  const [paced, set] = useState(value);
  const last = useRef(0);
  useEffect(() => {
    const timer = setTimeout(() => {
      last.current = Date.now();
      set(value);
    }, Math.max(0, last.current + ms - Date.now()));
    return () => clearTimeout(timer);
  }, [value]);
  return paced;
}

export function useNow(everyMs = 1000) {
  const [now, set] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => set(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

// -- places: views and what they show are in the address, so that they can be sent to a colleague --

export function placeNow() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: path || "overview", query: Object.fromEntries(new URLSearchParams(query || "")) };
}

export function place(view, query = {}) {
  const left = Object.entries(query).filter(([, value]) => value !== undefined && value !== "" && value !== null);
  const text = new URLSearchParams(left).toString();
  return `#/${view}${text ? `?${text}` : ""}`;
}

export function usePlace() {
  const [found, set] = useState(placeNow());
  // Before it is painted: whoever moved in between would not be heard.
  useLayoutEffect(() => {
    const moved = () => set(placeNow());
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return found;
}

export const go = (view, query) => (location.hash = place(view, query));

// -- words --

const STEPS = [[60, "s"], [60, "min"], [24, "h"], [Infinity, "d"]];

export function span(seconds) {
  let left = Math.max(0, seconds);
  for (const [size, unit] of STEPS) {
    if (left < size) return `${unit === "s" && left < 10 ? left.toFixed(0) : Math.floor(left)} ${unit}`;
    left /= size;
  }
  return "";
}

export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

export const bytes = (number) => {
  let left = number;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (left < 1024) return `${left < 10 && unit !== "B" ? left.toFixed(1) : Math.round(left)} ${unit}`;
    left /= 1024;
  }
  return `${left.toFixed(1)} TiB`;
};

// One clock for all ages: a list may show thousands, and few of their texts change at a time.
const ages = new Set();
setInterval(() => ages.forEach((each) => each()), 5000);

// A laptop's clock may be wrong: ages are told by the service's, from the last event of the feed.
const SKEW_MS = 2000;
let skew = 0;

export function keepClock(there) {
  const gap = Date.parse(there) - Date.now();
  // An event takes a moment to come, which is no skew.
  const was = skew;
  skew = Math.abs(gap) > SKEW_MS ? gap : 0;
  if (Math.abs(skew - was) > SKEW_MS) ages.forEach((each) => each());
}

export function Ago({ ts }) {
  const at = new Date(ts);
  const told = () => `${span((Date.now() + skew - at) / 1000)} ago`;
  const [text, set] = useState(told);
  useEffect(() => {
    const tick = () => set(told());
    tick();
    ages.add(tick);
    return () => ages.delete(tick);
  }, [ts]);
  return html`<time datetime=${ts} title=${at.toLocaleString()}>${text}</time>`;
}

/** A name that somebody chose: its own direction, and it breaks anywhere. */
export const Name = ({ children, mono = true }) =>
  html`<bdi class=${mono ? "name mono" : "name"}>${children}</bdi>`;

const MARKS = { ok: "●", warn: "▲", bad: "■", idle: "○", info: "◆" };

/** A state in a word, with a mark: never by its colour alone. */
export const Badge = ({ tone = "idle", children }) =>
  html`<span class="badge ${tone}"><span class="mark" aria-hidden="true">${MARKS[tone]}</span>${children}</span>`;

export const Verb = ({ verb }) =>
  html`<${Badge} tone=${{ put: "info", add: "ok", added: "ok", delete: "bad", removed: "bad" }[verb] || "info"}>${verb}<//>`;

export function Problem({ error, children }) {
  if (!error) return null;
  const rows = Array.isArray(error.details) ? error.details : [];
  return html`<div class="problem" role="alert">
    <p><strong>${error.code || "Error"}</strong> <bdi>${error.message}</bdi></p>
    ${rows.length > 0 &&
    html`<ul>${rows.slice(0, 12).map((each) =>
      html`<li>${each.path ? html`<code>${each.path}</code>: ` : ""}<bdi>${each.message || JSON.stringify(each)}</bdi></li>`)}</ul>`}
    ${children}
  </div>`;
}

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;
export const Busy = ({ when }) => (when ? html`<span class="busy" role="status">Loading…</span>` : null);

export function Panel({ title, extra, children, class: more = "" }) {
  const id = useId();
  return html`<section class="panel ${more}" aria-labelledby=${id}>
    <header><h2 id=${id}>${title}</h2>${extra}</header>
    ${children}
  </section>`;
}

export function Field({ label, hint, children }) {
  return html`<label class="field"><span>${label}</span>${children}${hint && html`<small>${hint}</small>`}</label>`;
}

export function Tabs({ label, value, options, onChange }) {
  return html`<div class="tabs" role="group" aria-label=${label}>
    ${options.map(([name, shown]) =>
      html`<button type="button" key=${name} aria-pressed=${value === name} onClick=${() => onChange(name)}>${shown}</button>`)}
  </div>`;
}

export function Copy({ text, children = "Copy" }) {
  const [done, set] = useState(false);
  const [shown, show] = useState(false);
  useEffect(() => {
    const timer = done && setTimeout(() => set(false), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      set(true);
    } catch {
      // Browsers give the clipboard to pages of https and of this machine alone.
      show(true);
    }
  };
  return html`<button type="button" class="quiet" onClick=${copy}>${done ? "Copied" : children}</button>
    ${shown && html`<${Dialog} title="To copy by hand" onClose=${() => show(false)} wide>
      <textarea readonly rows="8" aria-label="To copy by hand" onFocus=${(event) => event.target.select()}>${text}</textarea>
    <//>`}`;
}

/** A dialog of the browser: it keeps the keyboard inside, and Escape leaves it. */
export function Dialog({ title, onClose, children, wide }) {
  const box = useRef(null);
  const id = useId();
  // Before it is painted: a key pressed at once would reach the page behind.
  useLayoutEffect(() => {
    box.current.showModal();
    return () => box.current && box.current.close();
  }, []);
  return html`<dialog ref=${box} class=${wide ? "wide" : ""} aria-labelledby=${id}
      onCancel=${(event) => { event.preventDefault(); onClose(); }}>
    <header><h2 id=${id}>${title}</h2>
      <button type="button" class="quiet" onClick=${onClose} aria-label="Close">✕</button></header>
    ${children}
  </dialog>`;
}

/** What is chosen in a list. Where it stands below the list, as on a phone, it is brought into view,
    as soon as the list is there to be below. */
export function Detail({ of, after, children }) {
  const shown = useRef(null);
  const is = Boolean(of && after);
  useEffect(() => {
    if (is && matchMedia("(max-width: 62rem)").matches) shown.current.scrollIntoView({ block: "start" });
  }, [of, is]);
  return html`<div class="detail" ref=${shown}>${children}</div>`;
}

export function Table({ caption, columns, rows, keyOf, empty = "None." }) {
  if (!rows.length) return html`<${Empty}>${empty}<//>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}><table>
    <caption class="hidden">${caption}</caption>
    <thead><tr>${columns.map(([title, , kind]) => html`<th scope="col" class=${kind || ""}>${title}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${keyOf(row)}>
      ${columns.map(([title, cell, kind], at) => at === 0
        ? html`<th scope="row" class=${kind || ""}>${cell(row)}</th>`
        : html`<td class=${kind || ""} data-title=${title}>${cell(row)}</td>`)}</tr>`)}
    </tbody></table></div>`;
}

/** The line that screen readers are told. */
export function say(text) {
  const line = document.getElementById("said");
  if (line) line.textContent = text;
}
