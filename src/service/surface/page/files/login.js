import { get, token } from "./api.js";
import { el, say } from "./dom.js";

/** Asks for a token. `enter` is called with the session once one is good. */
export function login(main, enter, reason = "") {
  const field = el("input", { type: "password", id: "token", name: "token", autocomplete: "off", spellcheck: "false", required: true });
  const submit = async (event) => {
    event.preventDefault();
    token.set(field.value.trim());
    try {
      enter(await get("session"));
    } catch (error) {
      token.clear();
      say(error.message, true);
      field.focus();
      field.select();
    }
  };
  main.replaceChildren(el("section", { class: "card login", "aria-labelledby": "title" },
    el("h1", { id: "title", tabindex: "-1" }, "Log in"),
    el("p", {}, "This page shows what the cache service has to whoever looks after it."),
    el("form", { class: "wide", on: { submit } },
      el("p", {}, el("label", { for: "token" }, "Administrator's token"), field),
      el("p", { class: "note" }, "One is made by ", el("code", {}, "buildkit-gha token --role read"),
        ". It stays in this tab and is gone with it."),
      el("p", {}, el("button", { class: "primary", type: "submit" }, "Log in")))));
  say(reason, reason !== "");
  document.title = "Log in – buildkit-gha cache";
  field.focus();
}
