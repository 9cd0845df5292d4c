import { get } from "./api.js";
import { el } from "./dom.js";
import { entriesTable } from "./entries.js";
import { go, pageOf } from "./router.js";

const PER_PAGE = 50;

/** Entries of all repositories by a part of their keys, such as a digest. */
export async function search({ parameters, session, signal, again }) {
  const text = parameters.text ?? "";
  const page = pageOf(parameters);
  const submit = (event) => {
    event.preventDefault();
    go("search", { text: new FormData(event.target).get("text").trim() });
  };
  const form = el("form", { class: "row", role: "search", on: { submit } },
    el("p", { class: "grow" }, el("label", { for: "text" }, "Part of a key, or a digest"),
      el("input", { type: "search", id: "text", name: "text", value: text, spellcheck: "false", autocapitalize: "off" })),
    el("p", {}, el("button", { type: "submit", class: "primary" }, "Search")));
  const content = [form];
  if (text !== "") {
    const answer = await get("entries", { text, page, per_page: PER_PAGE }, signal);
    content.push(entriesTable({
      answer, caption: `Entries with “${text}”`, page, perPage: PER_PAGE, view: "search", parameters: { text }, session,
      columns: ["repository", "scope"], again,
    }));
  }
  return { title: "Search", content };
}
