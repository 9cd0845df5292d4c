/** The document of `buildkit-gha stats -o json`, and the outputs that are made of it. */

interface Steps {
  total?: number;
  cached?: number;
  time_saved_seconds?: number;
}

interface Import {
  layers_confirmed?: number;
  bytes_fetched?: number;
}

interface Export {
  bytes_sent?: number;
}

interface Build {
  steps?: Steps;
  imports?: Import[];
  exports?: Export[];
}

/** What is not known is absent. */
export interface Stats {
  builds?: Build[];
}

/** The outputs of the report, by name. */
export type Report = Record<
  'cache-hit' | 'layers-reused' | 'bytes-uploaded' | 'bytes-downloaded' | 'time-saved',
  string
>;

/** Sums up the builds of all nodes. Without a build, all outputs are empty. */
export function report(nodes: Stats[]): Report {
  const builds = nodes.flatMap((stats) => stats.builds ?? []);
  const imports = builds.flatMap((build) => build.imports ?? []);
  const exports = builds.flatMap((build) => build.exports ?? []);
  const show = (value: number) => (builds.length === 0 ? '' : String(value));
  const seconds = sum(builds, (build) => build.steps?.time_saved_seconds);
  return {
    'cache-hit': cacheHit(builds),
    'layers-reused': show(sum(imports, (one) => one.layers_confirmed)),
    'bytes-uploaded': show(sum(exports, (one) => one.bytes_sent)),
    'bytes-downloaded': show(sum(imports, (one) => one.bytes_fetched)),
    'time-saved': show(Math.round(seconds * 10) / 10),
  };
}

/** As actions/cache has it: an exact match, a part of it, or nothing. */
function cacheHit(builds: Build[]): string {
  const cached = sum(builds, (build) => build.steps?.cached);
  const total = sum(builds, (build) => build.steps?.total);
  return cached === 0 ? '' : String(cached === total);
}

function sum<T>(items: T[], value: (item: T) => number | undefined): number {
  return items.reduce((total, item) => total + (value(item) ?? 0), 0);
}
