// Lists of any length: in the page are the rows near the screen, and for the rest a space as high.

import { html, useEffect, useMemo, useRef, useState } from "./parts.js";

export const STRETCH = 25; // Rows that are drawn and dropped together: a few screens of a phone.
const SCREENS = 1.5; // Drawn above and below what is seen, so that a wheel meets no gap.

const watches = new WeakMap();

/** One observer for each list: it tells each part when it comes near the screen and when it leaves. */
function watchOf(list) {
  if (!watches.has(list)) {
    const parts = new Map();
    const observer = new IntersectionObserver(
      (found) => found.forEach((each) => parts.get(each.target)?.(each)),
      { root: list, rootMargin: `${SCREENS * 100}% 0px` },
    );
    watches.set(list, { parts, observer });
  }
  return watches.get(list);
}

/** True while a part of a list is near the screen, and its height when it was so last. */
export function useNear(box) {
  const [seen, set] = useState({ near: true, height: 0 });
  useEffect(() => {
    const part = box.current;
    const { parts, observer } = watchOf(part.closest(".timeline"));
    parts.set(part, ({ isIntersecting, boundingClientRect: { height } }) => {
      // Where the keyboard is, nothing is taken away.
      const near = isIntersecting || part.contains(document.activeElement);
      set((before) => (before.near === near ? before : { near, height }));
    });
    observer.observe(part);
    return () => {
      observer.unobserve(part);
      parts.delete(part);
    };
  }, []);
  return seen;
}

/** Rows that are drawn while they are near, and anew when they or one of the `wants` changed. */
function Stretch({ rows, draw, wants }) {
  const box = useRef(null);
  const { near, height } = useNear(box);
  const drawn = useMemo(() => near && rows.map(draw), [near, rows, ...wants]);
  return html`<ul ref=${box} style=${near ? {} : { height: `${height}px` }}>${drawn}</ul>`;
}

/** Rows of a page, some of them together. A page keeps its stretches: no row moves to another. */
export function Rows({ rows, draw, wants }) {
  const parts = useMemo(() => inStretches(rows), [rows]);
  return parts.map((each, at) => html`<${Stretch} key=${at} rows=${each} draw=${draw} wants=${wants} />`);
}

function inStretches(rows) {
  const found = [];
  for (let at = 0; at < rows.length; at += STRETCH) found.push(rows.slice(at, at + STRETCH));
  return found;
}

/** The end of a list that has more: pressed, or reached. */
export function More({ onMore, busy, children = "More" }) {
  const box = useRef(null);
  const [near, set] = useState(false);
  useEffect(() => {
    const { parts, observer } = watchOf(box.current.closest(".timeline"));
    const part = box.current;
    parts.set(part, ({ isIntersecting }) => set(isIntersecting));
    observer.observe(part);
    return () => {
      observer.unobserve(part);
      parts.delete(part);
    };
  }, []);
  useEffect(() => {
    if (near && !busy) onMore();
  }, [near, busy]);
  return html`<button type="button" class="wide" ref=${box} disabled=${busy} onClick=${onMore}>${busy ? "Loading…" : children}</button>`;
}

/** The arrow keys in a list of entries. */
export function moveInList(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const buttons = [...event.currentTarget.querySelectorAll("button.entry")];
  const to = buttons[buttons.indexOf(document.activeElement) + step];
  if (to) to.focus();
}

/** Entries of the log as they are known, newest first: pages of the past that stay, and on top what
    came since. `page` is an answer about the newest; one that does not reach what is known begins
    anew. */
export function withNewest(pages, page) {
  const top = pages.length && pages[0].rows.length ? pages[0].rows[0].epoch : 0;
  const fresh = page.entries.filter((each) => each.epoch > top);
  if (!top || (fresh.length === page.entries.length && page.next_before !== null)) return [pageOf(page.entries)];
  if (!fresh.length) return pages;
  const [first, ...rest] = pages;
  // What is on top grows until it is a stretch: entries come one by one.
  if (first.rows.length + fresh.length <= STRETCH) return [{ ...first, rows: [...fresh, ...first.rows] }, ...rest];
  return [pageOf(fresh), ...pages];
}

export const pageOf = (entries) => ({ id: entries.length ? entries[entries.length - 1].epoch : 0, rows: entries });
