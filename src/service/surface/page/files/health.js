import { get } from "./api.js";
import { el, facts } from "./dom.js";
import { count, duration, size } from "./format.js";
import { others } from "./uploads.js";

/** How the service is. */
export async function health({ signal, session }) {
  const answer = await get("health", {}, signal);
  const own = session.repository !== null;
  return {
    title: "Health",
    content: [
      facts(
        ["Database", state(answer.database.reachable), answer.database.kind],
        ["Storage", state(answer.storage.reachable), answer.storage.kind],
        ["Process", answer.ending ? el("span", { class: "warn" }, "is about to end") : el("span", { class: "good" }, "takes uploads"), `buildkit-gha ${answer.version}`],
        answer.disk && ["Disk", `${size(answer.disk.free)} free`, `of ${size(answer.disk.size)}`],
      ),
      el("h2", {}, own ? `Budget of ${session.repository}` : "Budgets"),
      el("div", { class: "card" }, own
        ? [...use("Bytes", answer.usage?.bytes, answer.limits.repository.bytes, size), ...use("Entries", answer.usage?.entries, answer.limits.repository.entries, count)]
        : [...use("Bytes of all repositories", answer.usage?.bytes, answer.limits.all.bytes, size),
          ...use("Entries of all repositories", answer.usage?.entries, answer.limits.all.entries, count),
          el("p", {}, `Each repository: ${limit(answer.limits.repository.bytes, size, "bytes")}, ${limit(answer.limits.repository.entries, count, "entries")}.`)],
      el("p", {}, answer.limits.idle_seconds === null
        ? "Entries stay however long nobody finds them (--max-age)."
        : `An entry goes that nobody has found for ${duration(answer.limits.idle_seconds * 1000)} (--max-age).`)),
      ...others(answer.replicas ?? []),
    ],
  };
}

function state(reachable) {
  return reachable ? el("span", { class: "good" }, "reachable") : el("span", { class: "bad" }, "not reachable");
}

function limit(value, format, what) {
  return value === null ? `no limit of ${what}` : `at most ${format(value)}${what === "entries" ? " entries" : ""}`;
}

function use(title, used, most, format) {
  const known = used === undefined || used === null ? "not known" : format(used);
  if (most === null || known === "not known") return [el("p", {}, `${title}: ${known}${most === null ? ", no limit" : ""}`)];
  const id = title.replaceAll(" ", "-").toLowerCase();
  return [
    el("p", { id }, `${title}: ${known} of ${format(most)} (${Math.round((100 * used) / most)} %)`),
    el("meter", { min: 0, max: most, high: most * 0.9, value: used, "aria-labelledby": id }),
  ];
}
