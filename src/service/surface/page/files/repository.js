import { get } from "./api.js";
import { confirmDeletion } from "./confirm.js";
import { el, facts, table } from "./dom.js";
import { entriesTable } from "./entries.js";
import { count, indexName, moment, share, size } from "./format.js";
import { DAYS, sumsOf } from "./repositories.js";
import { go, link, pageOf } from "./router.js";

const PER_PAGE = 50;

/** Most entries of indexes that are gone through for the tree: those that were written last. */
const INDEXES = 100;

/** One repository: what it takes, its scopes with their indexes, what has happened. */
export async function repository({ parameters, session, signal, again }) {
  const name = parameters.repository;
  const [found, scopes, indexes] = await Promise.all([
    get("repositories", { repository: name, days: DAYS }, signal),
    get("scopes", { repository: name }, signal),
    get("entries", { repository: name, prefix: "index-", sort: "created_at", per_page: INDEXES }, signal),
  ]);
  const row = found.repositories[0] ?? { bytes: 0, entries: 0, days: [] };
  const sums = sumsOf(row.days);
  const lookups = sums.hits + sums.misses;
  return {
    title: name,
    crumbs: [["Repositories", link("")]],
    content: [
      facts(
        ["Size", size(row.bytes), `${count(row.entries)} entries`],
        ["Hits", share(sums.hits, lookups), `${count(sums.hits)} of ${count(lookups)} lookups, ${DAYS} days`],
        ["Added", size(sums.added), `${count(sums.addedEntries)} entries, ${DAYS} days`],
        ["Evicted", size(sums.evicted), `${count(sums.evictedEntries)} entries, ${DAYS} days`],
      ),
      scopesTable(name, scopes, session, again),
      el("h2", {}, "Indexes"),
      indexTree(name, indexes),
      el("h2", {}, "Days"),
      daysTable(row.days),
    ],
  };
}

function scopesTable(name, answer, session, again) {
  const remove = async (row) => {
    const done = await confirmDeletion({
      title: "Delete a scope?",
      text: `All entries of ${row.scope} in the cache of ${name} go, as many as there are by then.`,
      usage: row,
      what: { repository: name, scope: row.scope },
    });
    if (done) again();
  };
  const columns = [
    { title: "Scope", head: true, cell: (row) => el("a", { class: "key", href: link("scope", { repository: name, scope: row.scope }) }, row.scope) },
    { title: "Size", number: true, cell: (row) => size(row.bytes) },
    { title: "Entries", number: true, cell: (row) => count(row.entries) },
    { title: "Newest entry", cell: (row) => moment(row.newest) },
    session.may_delete && {
      title: "Deletion",
      hidden: true,
      act: true,
      cell: (row) => el("button", { type: "button", class: "danger", "aria-label": `Delete the scope ${row.scope}`, on: { click: () => remove(row) } }, "Delete"),
    },
  ].filter(Boolean);
  const shown = answer.scopes.length < answer.total ? `, the largest ${count(answer.scopes.length)} are shown` : "";
  return table(["Scopes ", el("span", {}, `${count(answer.total)} in all${shown}`)], columns, answer.scopes, "No scope has entries.");
}

/** Scopes, the indexes in each, and the entries of each index: the newest of these is what builds read. */
function indexTree(repositoryName, answer) {
  const byScope = new Map();
  for (const entry of answer.entries) {
    const index = indexName(entry.key);
    if (!index) continue;
    const bases = byScope.get(entry.scope) ?? new Map();
    byScope.set(entry.scope, bases);
    const list = bases.get(index.base) ?? [];
    bases.set(index.base, list);
    list.push({ ...index, entry });
  }
  if (byScope.size === 0) return el("p", { class: "note" }, "No build has written an index here.");
  const version = ({ number, entry }, newest) => el("li", {},
    el("a", { href: link("index", { repository: repositoryName, id: entry.id }) }, `#${number}`),
    ` ${moment(entry.created)}, ${size(entry.bytes)}`,
    newest ? " (builds read this one)" : "");
  const base = (list) => el("li", {}, el("details", { open: byScope.size <= 3 },
    el("summary", {}, el("strong", {}, list[0].name || "(no name)"), ` – ${count(list.length)} ${list.length === 1 ? "version" : "versions"}`),
    el("ul", {}, list.map((item, at) => version(item, at === 0)))));
  const scope = ([name, bases]) => el("li", {}, el("details", { open: byScope.size <= 3 },
    el("summary", { class: "key" }, name),
    el("ul", {}, [...bases.values()].map(base))));
  const more = answer.total > answer.entries.length
    ? el("p", { class: "note" }, `The ${count(answer.entries.length)} that were written last, of ${count(answer.total)}.`)
    : undefined;
  return el("div", { class: "card" }, el("ul", { class: "tree" }, [...byScope].map(scope)), more);
}

function daysTable(days) {
  const columns = [
    { title: "Day (UTC)", head: true, cell: (day) => day.day },
    { title: "Hits", number: true, cell: (day) => count(day.hits) },
    { title: "Misses", number: true, cell: (day) => count(day.misses) },
    { title: "Added", number: true, cell: (day) => size(day.added.bytes) },
    { title: "Entries added", number: true, cell: (day) => count(day.added.entries) },
    { title: "Evicted", number: true, cell: (day) => size(day.evicted.bytes) },
    { title: "Entries evicted", number: true, cell: (day) => count(day.evicted.entries) },
  ];
  return table(`What has happened in the last ${DAYS} days`, columns, [...days].reverse(), "Nothing.");
}

/** One scope: its entries. */
export async function scope({ parameters, session, signal, again }) {
  const { repository: name, scope: ref, text } = parameters;
  const page = pageOf(parameters);
  const sort = ["size_in_bytes", "created_at"].includes(parameters.sort) ? parameters.sort : "last_accessed_at";
  const answer = await get("entries", { repository: name, scope: ref, text, sort, page, per_page: PER_PAGE }, signal);
  const submit = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    go("scope", { repository: name, scope: ref, text: form.get("text"), sort: form.get("sort") });
  };
  const option = (value, title) => el("option", { value, selected: value === sort }, title);
  const form = el("form", { class: "row", role: "search", on: { submit } },
    el("p", { class: "grow" }, el("label", { for: "filter" }, "Key contains"),
      el("input", { type: "search", id: "filter", name: "text", value: text ?? "" })),
    el("p", {}, el("label", { for: "sort" }, "First comes"),
      el("select", { id: "sort", name: "sort" }, option("last_accessed_at", "found last"), option("created_at", "newest"), option("size_in_bytes", "largest"))),
    el("p", {}, el("button", { type: "submit" }, "Show")));
  return {
    title: ref,
    crumbs: [["Repositories", link("")], [name, link("repository", { repository: name })]],
    content: [form, entriesTable({ answer, caption: "Entries", page, perPage: PER_PAGE, view: "scope", parameters: { repository: name, scope: ref, text, sort }, session, again })],
  };
}
