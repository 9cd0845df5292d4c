import { get } from "./api.js";
import { el, pager, svg, table } from "./dom.js";
import { count, share, size } from "./format.js";
import { link, pageOf } from "./router.js";

/** For how many days hits, growth and evictions are summed. */
export const DAYS = 30;

const PER_PAGE = 50;

/** The sums of all days of a repository. */
export function sumsOf(days) {
  const sums = { hits: 0, misses: 0, added: 0, addedEntries: 0, evicted: 0, evictedEntries: 0 };
  for (const day of days) {
    sums.hits += day.hits;
    sums.misses += day.misses;
    sums.added += day.added.bytes;
    sums.addedEntries += day.added.entries;
    sums.evicted += day.evicted.bytes;
    sums.evictedEntries += day.evicted.entries;
  }
  return sums;
}

/** What was added and evicted on each of the last days, as bars; the numbers are in the table beside it. */
export function chart(days, today) {
  const byDay = new Map(days.map((day) => [day.day, day]));
  const most = Math.max(1, ...days.map((day) => Math.max(day.added.bytes, day.evicted.bytes)));
  const bars = [];
  for (let ago = DAYS - 1; ago >= 0; ago -= 1) {
    const name = new Date(Date.parse(today) - ago * 86_400_000).toISOString().slice(0, 10);
    const day = byDay.get(name);
    if (!day) continue;
    const x = (DAYS - 1 - ago) * 4;
    const bar = (bytes, kind, up) => {
      const height = (bytes / most) * 12;
      if (height > 0) bars.push(svg("rect", { class: kind, x, y: up ? 13 - height : 13, width: 3, height: Math.max(height, 0.7) }));
    };
    bar(day.added.bytes, "gain", true);
    bar(day.evicted.bytes, "loss", false);
  }
  return svg("svg", { class: "chart", viewBox: `0 0 ${DAYS * 4} 26`, "aria-hidden": "true", focusable: "false" }, ...bars);
}

/** Which share of lookups has found something. */
export function hitsText({ hits, misses }) {
  const lookups = hits + misses;
  return lookups === 0 ? "no lookups" : `${share(hits, lookups)} of ${count(lookups)}`;
}

/** All repositories. */
export async function repositories({ parameters, signal }) {
  const page = pageOf(parameters);
  const answer = await get("repositories", { page, per_page: PER_PAGE, days: DAYS }, signal);
  const rows = answer.repositories.map((row) => ({ ...row, sums: sumsOf(row.days) }));
  const columns = [
    { title: "Repository", head: true, cell: (row) => el("a", { class: "key", href: link("repository", { repository: row.repository }) }, row.repository) },
    { title: "Size", number: true, cell: (row) => size(row.bytes) },
    { title: "Entries", number: true, cell: (row) => count(row.entries) },
    { title: "Hits", number: true, cell: (row) => hitsText(row.sums) },
    { title: "Added", number: true, cell: (row) => size(row.sums.added) },
    { title: "Evicted", number: true, cell: (row) => size(row.sums.evicted) },
    { title: "By day", cell: (row) => [chart(row.days, answer.today), el("span", { class: "hidden" }, `${row.days.length} days with activity`)] },
  ];
  return {
    title: "Repositories",
    content: [
      table(["Repositories ", el("span", {}, `${count(answer.total)} in all; hits, added and evicted in the last ${DAYS} days`)],
        columns, rows, "No repository has entries yet."),
      pager(page, PER_PAGE, answer.total, (to) => link("", { page: to })),
    ],
  };
}
