// The public API, as a page of the same site asks it.

const ROOT = new URL("../", location.href.split("#")[0]);

/** A refusal, in the service's own words. */
export class Refused extends Error {
  constructor(status, detail, headers) {
    super(detail.message);
    this.status = status;
    this.code = detail.code;
    this.field = detail.field;
    this.details = detail.details;
    this.retryAfter = headers ? headers.get("retry-after") : null;
  }
}

let csrf = "";
let onSignedOut = () => {};

/** Called when a request was refused for want of a sign-in. */
export const whenSignedOut = (then) => (onSignedOut = then);

export const keepCsrf = (value) => (csrf = value);

export const url = (path, query) => {
  const target = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query || {})) {
    if (value !== undefined && value !== null && value !== "") target.searchParams.set(name, value);
  }
  return target;
};

/** A key of several segments, as a path. */
export const keyPath = (key) => key.split("/").map(encodeURIComponent).join("/");

/** One request. Gives `{ value, headers, status }`; throws `Refused`. */
export async function ask(method, path, { query, body, headers, media, signal } = {}) {
  const told = { ...headers };
  if (body !== undefined) told["content-type"] = media || "application/json";
  if (csrf && method !== "GET") told["x-sie-csrf"] = csrf;
  let answer;
  try {
    answer = await fetch(url(path, query), {
      method,
      headers: told,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { code: "UNREACHABLE", message: "sie-config does not answer" });
  }
  const text = await answer.text();
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    value = text;
  }
  if (answer.ok) return { value, headers: answer.headers, status: answer.status };
  if (answer.status === 401) onSignedOut();
  const detail = (value && value.detail) || (value && value.error) || {};
  const message = detail.message || `the answer was ${answer.status}`;
  throw new Refused(answer.status, { ...detail, message }, answer.headers);
}

export const get = async (path, query, signal) =>
  (await ask("GET", path, { query, signal })).value;

/** Headers that hold any text: browsers send them as Latin-1, and the service reads UTF-8. */
export const asHeader = (text) =>
  String.fromCharCode(...new TextEncoder().encode(text.replace(/\s+/g, " ").trim()));

export const CONFIGS = "v1/configs/";
export const GATEWAY = "console/gateway/";
export const PLURALS = { model: "models", adapter: "adapters", bundle: "bundles", pool: "pools" };
export const KINDS = Object.keys(PLURALS);
export const entityPath = (kind, key) => `${CONFIGS}${PLURALS[kind]}/${keyPath(key)}`;

/** The name of a listed entity. */
export const nameOf = (kind, row) =>
  kind === "model" ? row.model_id : kind === "adapter" ? `${row.model_id}/${row.name}` : row.name;

/** The greatest text before this one in the order of keys: a page after it begins with this one. */
export function justBefore(key) {
  if (!key) return "";
  const last = key.codePointAt(key.length - 1);
  return key.slice(0, -1) + (last > 32 ? `${String.fromCodePoint(last - 1)}\u{10FFFF}` : "");
}

/** A document at a moment; null where it was absent, which is no error here. */
export async function documentAt(kind, key, at, signal) {
  if (at !== undefined && at < 1) return null;
  const page = await get(`${CONFIGS}${PLURALS[kind]}`, { at, after: justBefore(key), limit: 1 }, signal);
  const [row] = page[PLURALS[kind]];
  return row && nameOf(kind, row) === key ? row.document : null;
}
