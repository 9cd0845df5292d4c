// Views by the part of the address behind `#`: what is shown can be linked, and Back works.

/** The address of a view with parameters. Those that are not set are left out. */
export function link(view, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return `#/${view}${text ? `?${text}` : ""}`;
}

/** The view that the address names, and its parameters. */
export function here() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return { view: path, parameters: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

/** Goes to a view. */
export function go(view, parameters) {
  location.hash = link(view, parameters);
}

/** The number of a page in parameters. */
export function pageOf(parameters) {
  const page = Number.parseInt(parameters.page ?? "1", 10);
  return Number.isFinite(page) && page > 0 ? page : 1;
}
