// Numbers and times for people.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Bytes, in units of 1000 as everywhere in buildkit-gha. */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "not known";
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.5 ? 0 : value >= 9.95 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** A whole number with groups of digits. */
export function count(number) {
  return new Intl.NumberFormat("en").format(number);
}

/** `1 entry`, `2 entries`. */
export function entries(number) {
  return `${count(number)} ${number === 1 ? "entry" : "entries"}`;
}

/** A moment in UTC, as the log has it, without what is smaller than a second. */
export function moment(text) {
  return text ? `${text.slice(0, 10)} ${text.slice(11, 19)} UTC` : "not known";
}

/** How long something takes, from milliseconds. */
export function duration(milliseconds) {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`;
}

/** A share in percent. */
export function share(part, whole) {
  return whole === 0 ? "none" : `${Math.round((100 * part) / whole)} %`;
}

/** The beginning of a digest, enough to tell layers of one index apart. */
export function short(digest) {
  return digest.replace(/^sha256:/, "").slice(0, 12);
}

/** What an entry is, as its key says. */
export function kind(key) {
  if (/^index-.*-1-[0-9a-f]{8}(-sig)?#\d+$/i.test(key)) return "index";
  if (/^buildkit-blob-1-sha256:[0-9a-f]{64}(#\d+)?$/.test(key)) return "layer";
  if (/^buildkit-blob-1-sha256:[0-9a-f]{64}-sig/.test(key)) return "signature";
  return "other";
}

/** The attribute `scope` and the number of an index's key. */
export function indexName(key) {
  const parts = /^index-(.*)-1-[0-9a-f]{8}(?:-sig)?#(\d+)$/i.exec(key);
  return parts ? { name: parts[1], number: Number(parts[2]), base: key.slice(0, key.lastIndexOf("#")) } : undefined;
}
