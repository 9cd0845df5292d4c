import { get } from "./api.js";
import { el, table } from "./dom.js";
import { count, duration, size } from "./format.js";
import { link } from "./router.js";

/** How often what is live is asked for again, in milliseconds. */
const INTERVAL = 3000;

/** Uploads that this process takes, as they grow. */
export async function uploads({ signal }) {
  const place = el("div", {});
  const show = async () => {
    const answer = await get("uploads", {}, signal);
    // What somebody reads is left alone as long as it has the focus.
    if (!place.contains(document.activeElement) || place.childElementCount === 0) {
      place.replaceChildren(uploadsTable(answer), ...others(answer.replicas));
    }
  };
  await show();
  const timer = setInterval(() => {
    if (document.visibilityState === "visible") show().catch(() => {});
  }, INTERVAL);
  signal.addEventListener("abort", () => clearInterval(timer));
  return {
    title: "Uploads",
    content: [el("p", { class: "note" }, `What this process is being sent, asked for again every ${INTERVAL / 1000} s.`), place],
  };
}

function uploadsTable(answer) {
  const since = (moment) => duration(new Date(answer.now) - new Date(moment));
  const columns = [
    { title: "Key", head: true, cell: (row) => el("code", { class: "key" }, row.key) },
    { title: "Repository", cell: (row) => el("a", { href: link("repository", { repository: row.repository }) }, row.repository) },
    { title: "Scope", cell: (row) => el("span", { class: "key" }, row.scope) },
    { title: "Bytes so far", number: true, cell: (row) => row.bytes === null ? "sent to the bucket" : size(row.bytes) },
    { title: "Begun", number: true, cell: (row) => `${since(row.begun)} ago` },
    { title: "Last activity", number: true, cell: (row) => `${since(row.last_active)} ago` },
  ];
  return table(["Uploads in progress ", el("span", {}, count(answer.uploads.length))], columns, answer.uploads, "Nothing is being uploaded.");
}

/** Uploads of other replicas, as far as the database knows. */
export function others(replicas) {
  if (replicas.length === 0) return [];
  const columns = [
    { title: "Replica", head: true, cell: (row) => `${row.address ?? "address not known yet"}${row.own ? " (this one)" : ""}` },
    { title: "Uploads", number: true, cell: (row) => count(row.uploads) },
  ];
  return [el("h2", {}, "Replicas"), table("Replicas of this database", columns, replicas, "None.")];
}
