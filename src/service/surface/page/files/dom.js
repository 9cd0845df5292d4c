// Elements, made from texts: nothing that comes from the service is ever read as HTML.

/** Makes an element: attributes by name, `on` for listeners, children as texts or elements. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else {
      element.setAttribute(key, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return element;
}

/** Makes an element of a picture. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

/**
 * Makes a table. A column has a `title` and a `cell` that makes a row's content, and may be a `number`, a box to `pick`
 * a row, or what is to `act` on it; the first that is a `head` names its row. On narrow screens each row is a block of
 * its own; roles keep it a table for screen readers.
 */
export function table(caption, columns, rows, empty) {
  const head = el("tr", { role: "row" }, columns.map((column) =>
    el("th", { scope: "col", role: "columnheader", class: column.number ? "number" : undefined },
      column.hidden ? el("span", { class: "hidden" }, column.title) : column.title)));
  const body = rows.map((row) => el("tr", { role: "row" }, columns.map((column) => {
    const content = column.cell(row);
    const kind = ["number", "pick", "act"].filter((name) => column[name]).join(" ") || undefined;
    if (column.head) return el("th", { scope: "row", role: "rowheader", class: kind }, content);
    return el("td", { role: "cell", class: kind, "data-label": column.hidden ? undefined : column.title }, content);
  })));
  if (rows.length === 0) {
    body.push(el("tr", { role: "row" }, el("td", { role: "cell", colspan: columns.length }, empty)));
  }
  const region = el("div", { class: "scroll", role: "region", "aria-label": label(caption) },
    el("table", { class: "stack", role: "table" }, el("caption", {}, caption),
      el("thead", { role: "rowgroup" }, head), el("tbody", { role: "rowgroup" }, body)));
  // Whoever has no mouse scrolls what has the focus; where nothing is hidden, Tab need not stop.
  new ResizeObserver(() => {
    if (region.scrollWidth > region.clientWidth) region.tabIndex = 0;
    else region.removeAttribute("tabindex");
  }).observe(region);
  return region;
}

function label(caption) {
  return typeof caption === "string" ? caption : caption.map((part) => part.textContent ?? part).join("");
}

/** A list of facts. */
export function facts(...pairs) {
  return el("dl", { class: "facts" }, pairs.filter(Boolean).map(([term, value, more]) =>
    el("div", {}, el("dt", {}, term), el("dd", {}, value, more ? el("small", {}, more) : undefined))));
}

/** Links to the page before and after. `link` makes the address of a page. */
export function pager(page, perPage, total, link) {
  const pages = Math.max(1, Math.ceil(total / perPage));
  if (pages === 1) return el("span", {});
  const step = (to, text) => to >= 1 && to <= pages
    ? el("a", { href: link(to) }, text)
    : el("span", { class: "note" }, text);
  return el("nav", { class: "pager", "aria-label": "Pages" },
    step(page - 1, "Previous"), el("span", {}, `Page ${page} of ${pages}`), step(page + 1, "Next"));
}

/** Shows the message that screen readers tell, too. */
export function say(text, bad = false) {
  const status = document.getElementById("status");
  status.textContent = text;
  status.classList.toggle("bad", bad);
}
