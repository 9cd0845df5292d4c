/** Durations as Go writes them, and with days, as `buildkit-gha` reads them: 90s, 1m30s, 2d. */

const UNITS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

export interface Duration {
  /** As it was written. */
  text: string;
  milliseconds: number;
}

/** Reads a duration; throws if it is none. */
export function parseDuration(text: string): Duration {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) {
    throw new Error(`"${text}" is no duration: write it as 90s, 5m or 1m30s`);
  }
  let milliseconds = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    milliseconds += Number(number) * (UNITS[unit ?? ''] ?? 0);
  }
  return { text, milliseconds };
}
