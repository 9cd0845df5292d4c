// The page: who is logged in, which view is shown, where the focus goes.

import { Refusal, get, token } from "./api.js";
import { el, say } from "./dom.js";
import { health } from "./health.js";
import { login } from "./login.js";
import { repositories } from "./repositories.js";
import { repository, scope } from "./repository.js";
import { here } from "./router.js";
import { search } from "./search.js";
import { index } from "./tree.js";
import { uploads } from "./uploads.js";

const VIEWS = { "": repositories, repository, scope, index, search, uploads, health };

/** After how many milliseconds people are told that a view is on its way. */
const PATIENCE = 400;

const main = document.getElementById("main");
let session;
/** Ends what the view before has begun. */
let leaving = new AbortController();

async function show(keepFocus = false) {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  if (!session) return;
  const { view, parameters } = here();
  const make = VIEWS[view];
  mark(view);
  main.setAttribute("aria-busy", "true");
  const slow = setTimeout(() => say("Loading…"), PATIENCE);
  try {
    if (!make) throw new Refusal(404, "There is no such view.");
    const again = () => show(true);
    const made = await make({ parameters, session, signal, again });
    if (signal.aborted) return;
    clearTimeout(slow);
    const heading = el("h1", { tabindex: "-1" }, made.title);
    const crumbs = made.crumbs && el("nav", { class: "crumbs", "aria-label": "Where this is" },
      made.crumbs.flatMap(([title, address], at) => [at > 0 ? " / " : "", el("a", { href: address }, title)]));
    main.replaceChildren(...[crumbs, heading, ...made.content].filter(Boolean));
    document.title = `${made.title} – buildkit-gha cache`;
    if (!keepFocus) {
      say("");
      scrollTo(0, 0);
    }
    heading.focus({ preventScroll: true });
  } catch (error) {
    if (signal.aborted) return;
    failed(error);
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) main.removeAttribute("aria-busy");
  }
}

function failed(error) {
  if (error.status === 401) {
    leave(error.message);
    return;
  }
  const heading = el("h1", { tabindex: "-1" }, "This cannot be shown");
  main.replaceChildren(heading, el("p", {}, error.message));
  say(error.message, true);
  heading.focus();
}

/** Says which view it is. */
function mark(view) {
  const shown = { repository: "", scope: "", index: "" }[view] ?? view;
  for (const anchor of document.querySelectorAll("#views a")) {
    const own = anchor.getAttribute("href").replace("#/", "");
    if (own === shown) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
}

function enter(entered) {
  session = entered;
  const what = session.repository ?? "all repositories";
  document.getElementById("who-name").textContent = `${session.name} (${session.role}, ${what})`;
  document.getElementById("who").hidden = false;
  document.getElementById("views").hidden = false;
  show();
}

function leave(reason = "") {
  leaving.abort();
  session = undefined;
  token.clear();
  document.getElementById("who").hidden = true;
  document.getElementById("views").hidden = true;
  main.removeAttribute("aria-busy");
  login(main, enter, reason);
}

document.getElementById("logout").addEventListener("click", () => leave());
document.getElementById("skip").addEventListener("click", (event) => {
  // The address behind `#` is the view's.
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => show());

if (token.get()) {
  get("session").then(enter, (error) => {
    if (error.status === 401 || error.status === 403) leave(error.message);
    else failed(error);
  });
} else {
  leave();
}
