import { confirmDeletion } from "./confirm.js";
import { el, pager, table } from "./dom.js";
import { count, entries as entriesText, kind, moment, size } from "./format.js";
import { link } from "./router.js";

/** How many lines of a dialog name entries one by one. */
const NAMED = 10;

/**
 * A page of entries, with boxes to select some where the session may delete. `place` says which entries they are: the
 * view, its parameters, whether repositories and scopes are columns.
 */
export function entriesTable({ answer, caption, page, perPage, view, parameters, session, columns = [], again }) {
  const selected = new Map();
  const button = el("button", { type: "button", class: "danger", disabled: true }, "Delete selected");
  const update = () => {
    button.disabled = selected.size === 0;
    button.textContent = selected.size === 0 ? "Delete selected" : `Delete ${entriesText(selected.size)}`;
  };
  const box = (entry) => el("input", {
    type: "checkbox",
    "aria-label": `Select ${entry.key} in ${entry.scope}`,
    on: {
      change: (event) => {
        if (event.target.checked) selected.set(entry.id, entry);
        else selected.delete(entry.id);
        update();
      },
    },
  });
  button.addEventListener("click", async () => {
    if (await deleteEntries([...selected.values()])) again();
  });
  const all = [
    session.may_delete && { title: "Selected", hidden: true, pick: true, cell: box },
    { title: "Key", head: true, cell: (entry) => keyCell(entry) },
    columns.includes("repository") && {
      title: "Repository",
      cell: (entry) => el("a", { href: link("repository", { repository: entry.repository }) }, entry.repository),
    },
    columns.includes("scope") && {
      title: "Scope",
      cell: (entry) => el("a", { class: "key", href: link("scope", { repository: entry.repository, scope: entry.scope }) }, entry.scope),
    },
    { title: "Size", number: true, cell: (entry) => size(entry.bytes) },
    { title: "Created", cell: (entry) => moment(entry.created) },
    { title: "Last found", cell: (entry) => moment(entry.accessed) },
  ].filter(Boolean);
  return el("section", {},
    table([caption, " ", el("span", {}, `${count(answer.total)} in all`)], all, answer.entries, "No entries."),
    el("div", { class: "actions" },
      session.may_delete ? button : undefined,
      pager(page, perPage, answer.total, (to) => link(view, { ...parameters, page: to }))));
}

function keyCell(entry) {
  const text = el("code", { class: "key" }, entry.key);
  if (kind(entry.key) !== "index") return text;
  return el("a", { href: link("index", { repository: entry.repository, id: entry.id }) }, text);
}

/** Deletes entries of any repositories after a question; true if all are gone. */
async function deleteEntries(chosen) {
  const repositories = new Set(chosen.map((entry) => entry.repository));
  if (repositories.size !== 1) {
    // One request is about one repository.
    for (const repository of repositories) {
      const own = chosen.filter((entry) => entry.repository === repository);
      if (!(await deleteEntries(own))) return false;
    }
    return true;
  }
  const [repository] = repositories;
  const bytes = chosen.reduce((sum, entry) => sum + entry.bytes, 0);
  const list = chosen.slice(0, NAMED).map((entry) => `${entry.key} (${entry.scope})`);
  if (chosen.length > NAMED) list.push(`and ${count(chosen.length - NAMED)} more`);
  return confirmDeletion({
    title: "Delete entries?",
    text: `From the cache of ${repository}:`,
    list,
    usage: { entries: chosen.length, bytes },
    what: { repository, ids: chosen.map((entry) => entry.id) },
  });
}
