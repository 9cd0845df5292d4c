// Calls of the service's API. The token is in this tab alone, and goes with it.

const KEY = "buildkit-gha-token";

/** A call that was refused: its message is the service's own. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  clear: () => sessionStorage.removeItem(KEY),
};

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(`api/v1/${path}`, {
      ...options,
      cache: "no-store",
      credentials: "omit",
      headers: { ...options.headers, Authorization: `Bearer ${token.get() ?? ""}` },
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The service cannot be reached. Try again, or look at its log.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Refusal(response.status, answer.message ?? `The service answered with status ${response.status}.`);
  }
  return answer;
}

/** Asks for something. Parameters that are not set are left out. */
export function get(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return call(text ? `${path}?${text}` : path, { signal });
}

/** Deletes entries of a repository by their ids, or all of one scope. Answers what has gone. */
export async function remove(what) {
  const sum = { bytes: 0, entries: 0 };
  let left;
  do {
    const answer = await call("delete", {
      method: "POST",
      body: JSON.stringify(what),
      headers: { "Content-Type": "application/json" },
    });
    sum.bytes += answer.bytes;
    sum.entries += answer.entries;
    left = answer.entries > 0 ? answer.left : 0;
  } while (left > 0);
  return sum;
}
