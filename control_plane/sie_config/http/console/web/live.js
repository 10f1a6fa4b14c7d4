// What the feed of sie-config tells, for every view: the head, the replicas, the newest entries.

import { get, url } from "./api.js";
import { keepClock, useEffect, useLayoutEffect, useState } from "./parts.js";

const KEPT = 600; // Points of the chart: five minutes.
const ENTRIES = 100;
const AGAIN_MS = 2000;
// The feed beats twice a second. A service that hangs keeps its connections, and an event source says
// nothing of silence.
const SILENT_MS = 8000;
const LOOK_MS = 1000;

const told = {
  state: "connecting",
  since: Date.now(),
  head: null,
  published: 0,
  replicas: [],
  troubles: [],
  total: 0,
  live: 0,
  converged: false,
  entries: [],
  points: [],
  resets: 0,
};
const listeners = new Set();
let source = null;
let timer = 0;
let watch = 0;
let heard = 0; // The moment of the last event.

const tell = () => listeners.forEach((each) => each());

function set(state) {
  if (told.state !== state) {
    told.state = state;
    told.since = Date.now();
  }
  tell();
}

function take(name, data) {
  heard = Date.now();
  if (name === "entry") {
    told.entries = [data, ...told.entries.filter((each) => each.epoch !== data.epoch)];
    told.entries.length = Math.min(told.entries.length, ENTRIES);
  } else if (name === "reset") {
    told.entries = [];
    told.resets += 1;
  } else if (name === "replicas") {
    keepClock(data.now);
    Object.assign(told, {
      head: data.head,
      published: data.published_epoch,
      troubles: data.troubles,
      replicas: data.replicas.map((each) => ({ ...each, heard })),
      total: data.total,
      live: data.live,
      converged: data.converged,
    });
    const living = data.replicas.filter((each) => each.live && !each.gone);
    const epochs = living.map((each) => each.epoch);
    told.points.push({
      at: heard / 1000,
      head: data.head.epoch,
      first: epochs.length ? Math.max(...epochs) : null,
      last: epochs.length ? Math.min(...epochs) : null,
    });
    if (told.points.length > KEPT) told.points.shift();
  } else {
    told.head = data;
  }
  set("live");
}

export function follow() {
  stop();
  heard = Date.now();
  watch = setInterval(listen, LOOK_MS);
  // A browser goes on by itself after a pause of the line, and says which event was its last.
  source = new EventSource(url("v1/configs/events"));
  for (const name of ["head", "entry", "replicas", "reset"]) {
    source.addEventListener(name, (event) => take(name, JSON.parse(event.data)));
  }
  source.onerror = () => {
    set("lost");
    if (source.readyState === EventSource.CLOSED) timer = setTimeout(again, AGAIN_MS);
  };
}

/** Silence of a line that is open is no answer: it is left, and asked for anew. */
function listen() {
  if (told.state === "lost" || Date.now() - heard < SILENT_MS) return;
  clearInterval(watch);
  source.close();
  set("lost");
  again();
}

/** An event source does not say why it was refused: a request does, and leads to the sign-in. */
function again() {
  get("v1/configs/epoch").then(
    () => source && follow(),
    (error) => {
      if (source && error.status !== 401) timer = setTimeout(again, AGAIN_MS);
    },
  );
}

export function stop() {
  clearTimeout(timer);
  clearInterval(watch);
  if (source) source.close();
  source = null;
}

/** What is told now; the component is drawn anew when it changes. */
export function useLive() {
  const [, again] = useState(0);
  useLayoutEffect(() => {
    const listener = () => again((count) => count + 1);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return told;
}

/** One part of it: drawn anew only when that changes. */
export function useLivePart(part) {
  const [value, again] = useState(() => part(told));
  useEffect(() => {
    const listener = () => again(() => part(told));
    listeners.add(listener);
    listener();
    return () => listeners.delete(listener);
  }, []);
  return value;
}
