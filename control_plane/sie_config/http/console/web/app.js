// The page around the views: where one is, who one is, and how the cluster is.

import { render } from "./vendor/preact.js";
import { ask, get, keepCsrf, whenSignedOut } from "./api.js";
import { follow, stop, useLivePart } from "./live.js";
import { Badge, Busy, Field, Panel, Problem, html, place, useEffect, usePlace, useRef, useState } from "./parts.js";
import { History } from "./history.js";
import { Models } from "./models.js";
import { Overview, problemsOf } from "./overview.js";
import { Playground } from "./playground.js";
import { Queue } from "./queue.js";

const VIEWS = [
  ["overview", "Overview", Overview],
  ["history", "History", History],
  ["models", "Models", Models],
  ["playground", "Playground", Playground],
  ["queue", "Queue", Queue],
];
const THEMES = [["", "System"], ["light", "Light"], ["dark", "Dark"]];

function themeNow() {
  try {
    return localStorage.getItem("sie-theme") || "";
  } catch {
    return "";
  }
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  try {
    localStorage.setItem("sie-theme", theme);
  } catch {
    // A browser that keeps nothing shows it all the same.
  }
}

/** What the signed-in may do; what they may not is not shown. */
export const mayOf = (session) => ({
  write: session.roles.includes("admin"),
  propose: session.roles.includes("admin") || session.roles.includes("propose"),
  infer: session.roles.includes("admin") || session.roles.includes("infer"),
  audit: session.roles.includes("admin") || session.roles.includes("audit"),
  gateway: session.gateway,
  gatewayUrl: session.gateway_url,
});

function SignIn({ ended, onDone }) {
  const [token, set] = useState("");
  const [error, refuse] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      await ask("POST", "console/session", { body: { token } });
      onDone();
    } catch (found) {
      refuse(found);
    }
  };
  return html`<main class="sign-in"><form onSubmit=${submit} class="panel">
    <h1>SIE console</h1>
    ${ended && html`<p role="status"><strong>Your session ended</strong>: twelve hours are over, its token was taken back, or sie-config was started again. You come back to where you were.</p>`}
    <p>Sign in with a token of this cluster. It stays with sie-config; this browser keeps a session of twelve hours.</p>
    <${Field} label="Token">
      <input type="password" autocomplete="current-password" required value=${token} onInput=${(event) => set(event.target.value)} />
    <//>
    <${Problem} error=${error} />
    <button type="submit" class="main">Sign in</button>
    <p class="hint">No token yet: <code>sie token new NAME --roles read --file TOKENS</code></p>
  </form></main>`;
}

function State() {
  const live = useLivePart((told) => {
    const worst = problemsOf(told)[0];
    const epoch = told.head ? told.head.epoch : 0;
    return `${told.state}|${worst ? worst.tone : "ok"}|${epoch}|${told.head ? told.head.log_id.slice(0, 8) : ""}`;
  });
  const [state, tone, epoch, log] = live.split("|");
  const shown = state === "live" ? [tone, `epoch ${epoch}`] : state === "lost" ? ["bad", "no answer"] : ["idle", "connecting"];
  return html`<div class="state">
    ${log && html`<span class="log mono" title="log id">${log}</span>`}
    <span data-testid="epoch"><${Badge} tone=${shown[0]}>${shown[1]}<//></span></div>`;
}

function NoSuchPage() {
  return html`<${Panel} title="There is no such page">
    <p>The console has no <code><bdi>${location.hash}</bdi></code>. <a href=${place("overview")}>Go to the overview</a></p>
  <//>`;
}

function Shell({ session, onSignOut }) {
  const here = usePlace();
  const [theme, chooseTheme] = useState(themeNow());
  const main = useRef(null);
  const shown = VIEWS.find(([name]) => name === here.view) || ["", "No such page", NoSuchPage];
  const View = shown[2];
  useEffect(() => setTheme(theme), [theme]);
  useEffect(() => {
    document.title = `${shown[1]} · SIE console`;
    // Another view begins at its top, however far down the last one was.
    scrollTo(0, 0);
  }, [shown[0]]);
  return html`<div class="shell">
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>Skip to the content</a>
    <header class="top">
      <a class="brand" href=${place("overview")}><img src="icon.svg" alt="" width="26" height="26" /><strong>SIE</strong></a>
      <nav aria-label="Views">${VIEWS.map(([name, title]) => html`<a key=${name} href=${place(name)}
        aria-current=${name === shown[0] ? "page" : undefined}><i class="glyph ${name}" aria-hidden="true"></i><span>${title}</span></a>`)}</nav>
      <${State} />
      <div class="who">
        ${session.name && html`<span class="name">${session.name}</span>`}
        <label class="hidden" for="theme">Colours</label>
        <select id="theme" value=${theme} onChange=${(event) => chooseTheme(event.target.value)}>
          ${THEMES.map(([value, title]) => html`<option value=${value}>${title}</option>`)}</select>
        ${!session.open && html`<button type="button" class="quiet" onClick=${onSignOut}>Sign out</button>`}
      </div>
    </header>
    <main id="main" ref=${main} tabindex="-1">
      <h1 class="hidden">${shown[1]}</h1>
      <${View} key=${shown[0]} query=${here.view === shown[0] ? here.query : {}} may=${mayOf(session)} />
    </main>
    <div id="said" class="hidden" role="status" aria-live="polite"></div>
  </div>`;
}

function App() {
  const [session, set] = useState(null);
  const [error, fail] = useState(null);
  const was = useRef(false);
  const look = () => get("console/session").then(
    (found) => {
      keepCsrf(found.csrf);
      if (found.signed_in) follow();
      else stop();
      was.current = was.current || found.signed_in;
      fail(null);
      set(found);
    },
    fail,
  );
  useEffect(() => {
    setTheme(themeNow());
    whenSignedOut(look);
    look();
  }, []);
  const signOut = async () => {
    try {
      await ask("DELETE", "console/session");
      was.current = false;
    } catch {
      // Nobody answers: what is shown next says so.
    }
    stop();
    look();
  };
  if (error) {
    return html`<main class="sign-in"><div class="panel"><h1>SIE console</h1><${Problem} error=${error} />
      <button type="button" class="main" onClick=${look}>Try again</button></div></main>`;
  }
  if (!session) return html`<main class="sign-in"><h1 class="hidden">SIE console</h1><${Busy} when=${true} /></main>`;
  if (!session.signed_in) return html`<${SignIn} ended=${was.current} onDone=${look} />`;
  return html`<${Shell} session=${session} onSignOut=${signOut} />`;
}

render(html`<${App} />`, document.getElementById("app"));
