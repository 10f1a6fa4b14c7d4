// The difference of two documents: side by side, and as JSON Patch.

import { count, html, useMemo, useState, Tabs, Empty } from "./parts.js";

const AROUND = 3;
const LINES_MAX = 1500;

const sorted = (value) => {
  if (Array.isArray(value)) return value.map(sorted);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]));
  }
  return value;
};

export const pretty = (value) => JSON.stringify(sorted(value), null, 2);
export const linesOf = (document) => (document === null || document === undefined ? [] : pretty(document).split("\n"));

/** Rows `[left, right]` of two texts; null where a side has nothing. */
export function paired(before, after) {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < before.length - start && end < after.length - start &&
    before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
  const a = before.slice(start, before.length - end);
  const b = after.slice(start, after.length - end);
  const rows = before.slice(0, start).map((line) => [line, line]);
  rows.push(...middle(a, b));
  for (let at = end; at > 0; at -= 1) rows.push([before[before.length - at], after[after.length - at]]);
  return rows;
}

function middle(a, b) {
  if (a.length > LINES_MAX || b.length > LINES_MAX) {
    return [...a.map((line) => [line, null]), ...b.map((line) => [null, line])];
  }
  const width = b.length + 1;
  const most = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      most[i * width + j] = a[i] === b[j]
        ? most[(i + 1) * width + j + 1] + 1
        : Math.max(most[(i + 1) * width + j], most[i * width + j + 1]);
    }
  }
  const rows = [];
  let gone = [];
  let come = [];
  const settle = () => {
    for (let at = 0; at < Math.max(gone.length, come.length); at += 1) {
      rows.push([at < gone.length ? gone[at] : null, at < come.length ? come[at] : null]);
    }
    gone = [];
    come = [];
  };
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      settle();
      rows.push([a[i], b[j]]);
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && most[(i + 1) * width + j] >= most[i * width + j + 1])) {
      gone.push(a[i]);
      i += 1;
    } else {
      come.push(b[j]);
      j += 1;
    }
  }
  settle();
  return rows;
}

/** Groups of rows: `{ rows }` to show, or `{ skipped }`. */
function folded(rows) {
  const near = rows.map(() => false);
  rows.forEach(([left, right], at) => {
    if (left === right) return;
    for (let each = at - AROUND; each <= at + AROUND; each += 1) if (each in near) near[each] = true;
  });
  const groups = [];
  rows.forEach((row, at) => {
    const last = groups[groups.length - 1];
    if (near[at]) {
      if (last && last.rows) last.rows.push(row);
      else groups.push({ rows: [row] });
    } else if (last && last.skipped) last.skipped.push(row);
    else groups.push({ skipped: [row] });
  });
  return groups;
}

const Line = ({ text, kind }) => text === null
  ? html`<td class="line none"></td>`
  : html`<td class="line ${kind}"><span class="sign" aria-hidden="true">${{ gone: "−", come: "+" }[kind] || " "}</span>${
      kind === "gone" ? html`<del>${text}</del>` : kind === "come" ? html`<ins>${text}</ins>` : text}</td>`;

export function SideBySide({ before, after, left = "before", right = "after" }) {
  const [whole, setWhole] = useState(false);
  const rows = useMemo(() => paired(linesOf(before), linesOf(after)), [before, after]);
  if (rows.every(([a, b]) => a === b)) return html`<${Empty}>Nothing differs.<//>`;
  const groups = whole ? [{ rows }] : folded(rows);
  const hidden = groups.reduce((sum, each) => sum + (each.skipped ? each.skipped.length : 0), 0);
  return html`<div class="diff scroll" tabindex="0" role="region" aria-label="Difference, ${left} and ${right}">
    <table><caption class="hidden">Difference between ${left} and ${right}</caption>
      <thead><tr><th scope="col">${left}</th><th scope="col">${right}</th></tr></thead>
      ${groups.map((group) => group.rows
        ? html`<tbody>${group.rows.map(([a, b]) => html`<tr>
            <${Line} text=${a} kind=${a === b ? "same" : "gone"} /><${Line} text=${b} kind=${a === b ? "same" : "come"} />
          </tr>`)}</tbody>`
        : html`<tbody class="fold"><tr><td colspan="2">⋯ ${count(group.skipped.length, "equal line")}</td></tr></tbody>`)}
    </table>
    ${hidden > 0 && html`<button type="button" class="quiet" onClick=${() => setWhole(true)}>Show all lines</button>`}
  </div>`;
}

const short = (value) => {
  const text = JSON.stringify(value);
  return text === undefined ? "" : text.length > 300 ? `${text.slice(0, 300)}…` : text;
};

export function Patch({ patch }) {
  if (!patch.length) return html`<${Empty}>Nothing differs.<//>`;
  return html`<ol class="patch">${patch.slice(0, 500).map((each) => html`<li>
    <span class="op ${each.op}">${each.op}</span> <code>${each.path || "/"}</code>
    ${"value" in each && html`<code class="value">${short(each.value)}</code>`}</li>`)}
    ${patch.length > 500 && html`<li>… ${patch.length - 500} more</li>`}</ol>`;
}

/** Both, with a switch. `patch` null: the document alone. */
export function Difference({ before, after, patch, left, right }) {
  const [form, set] = useState("side");
  const options = [["side", "Side by side"], ["patch", "JSON Patch"], ["document", "Document"]];
  return html`<div class="difference">
    <${Tabs} label="Form of the difference" value=${form} options=${options.filter(([name]) => name !== "patch" || patch)} onChange=${set} />
    ${form === "side" && html`<${SideBySide} before=${before} after=${after} left=${left} right=${right} />`}
    ${form === "patch" && html`<${Patch} patch=${patch} />`}
    ${form === "document" && html`<pre class="code" tabindex="0">${after === null ? "(absent)" : pretty(after)}</pre>`}
  </div>`;
}
