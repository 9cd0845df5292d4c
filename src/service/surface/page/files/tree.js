import { get } from "./api.js";
import { el, facts } from "./dom.js";
import { count, duration, moment, short, size } from "./format.js";
import { link } from "./router.js";

/** How many other indexes are named at a layer before the rest is a number. */
const NAMED = 3;

/** What an index of BuildKit's names: layers upon layers, the steps that made them, what is here and what is shared. */
export async function index({ parameters, signal }) {
  const { repository, id } = parameters;
  const tree = await get("index", { repository, id }, signal);
  const missing = new Set(tree.layers.filter((layer) => layer.entries.length === 0).map((layer) => layer.digest));
  const bytes = sumOfDigests(tree.layers, () => true);
  const shared = sumOfDigests(tree.layers, (layer) => layer.shared_with.length > 0);
  const { scope } = tree.index;
  return {
    title: `Index ${tree.index.name || "(no name)"} #${tree.index.number}`,
    crumbs: [["Repositories", link("")], [repository, link("repository", { repository })], [scope, link("scope", { repository, scope })]],
    content: [
      facts(
        ["Written", tree.index.created.slice(0, 10), `${tree.index.created.slice(11, 19)} UTC, ${size(tree.index.bytes)}${tree.mode ? `, mode=${tree.mode}` : ""}`],
        ["Layers", count(tree.layer_count), `${size(bytes)}, ${count(tree.records)} cache keys`],
        ["Shared", size(shared), sharingText(tree)],
        ["Missing", missing.size === 0 ? el("span", { class: "good" }, "none") : el("span", { class: "bad" }, count(missing.size)), "layers without an entry here"],
      ),
      el("h2", {}, "Layers"),
      tree.layers.length < tree.layer_count ? el("p", { class: "note" }, `The first ${count(tree.layers.length)} are shown.`) : undefined,
      tree.layers.length === 0 ? el("p", { class: "note" }, "It names no layers.") : el("div", { class: "card" }, layerTree(tree)),
      tree.steps_without_layer > 0
        ? el("p", { class: "note" }, `${count(tree.steps_without_layer)} steps have no layer in this index.`)
        : undefined,
    ],
  };
}

function sumOfDigests(layers, counts) {
  const sizes = new Map(layers.filter(counts).map((layer) => [layer.digest, layer.bytes ?? 0]));
  return [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
}

function sharingText(tree) {
  const unread = tree.others_unread > 0 ? `, ${count(tree.others_unread)} were not read` : "";
  return `with ${count(tree.sharing.length)} of ${count(tree.others_read)} other indexes${unread}`;
}

/** Layers upon each other, bottom first. What stands on one that nothing else stands on is at the same level. */
function layerTree(tree) {
  const children = new Map();
  tree.layers.forEach((layer, at) => {
    const below = layer.parent ?? -1;
    children.set(below, [...(children.get(below) ?? []), at]);
  });
  const list = (begin) => {
    const items = [];
    for (const start of begin) {
      let at = start;
      for (;;) {
        const above = children.get(at) ?? [];
        const item = layerItem(tree, tree.layers[at]);
        items.push(item);
        if (above.length === 1) {
          [at] = above;
          continue;
        }
        if (above.length > 1) item.append(list(above));
        break;
      }
    }
    return el("ul", {}, items);
  };
  const top = list(children.get(-1) ?? []);
  top.className = "tree";
  return top;
}

function layerItem(tree, layer) {
  const times = layer.steps.map((step) => step.milliseconds === null ? `step ${step.key.slice(0, 8)}` : `step ${step.key.slice(0, 8)} took ${duration(step.milliseconds)}`);
  const results = layer.results > 0 ? `result of ${count(layer.results)} cache ${layer.results === 1 ? "key" : "keys"}` : undefined;
  const more = [layer.created ? `made ${moment(layer.created)}` : undefined, results, ...times.slice(0, NAMED)].filter(Boolean).join("; ");
  const here = layer.entries.length > 0
    ? el("span", { class: "tag good" }, `here in ${layer.entries.length === 1 ? layer.entries[0].scope : `${layer.entries.length} entries`}`)
    : el("span", { class: "tag bad" }, "missing here");
  return el("li", {},
    el("a", { href: link("search", { text: layer.digest }), title: layer.digest }, el("code", {}, short(layer.digest))),
    ` ${size(layer.bytes)} `, here,
    ...sharing(tree, layer),
    more ? el("p", { class: "meta" }, more) : undefined);
}

function sharing(tree, layer) {
  if (layer.shared_with.length === 0) return [];
  const all = layer.shared_with.map((place) => tree.sharing[place]);
  const names = all.slice(0, NAMED).flatMap((other, at) => [
    at > 0 ? ", " : "",
    el("a", { href: link("index", { repository: other.repository, id: other.id }) }, `${other.name || "(no name)"} in ${other.scope}`),
  ]);
  if (all.length > NAMED) names.push(` and ${count(all.length - NAMED)} more`);
  return [el("span", {}, "shared with ", names)];
}
