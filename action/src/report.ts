/** What `report/action.yml` names: sets outputs from what the builds so far have done. */
import { inspectArgs } from './builder.ts';
import * as gateway from './gateway.ts';
import { Reader } from './reader.ts';
import { parseInspect } from './nodes.ts';
import { reasonOf, run } from './process.ts';
import { report } from './stats.ts';
import { annotate, info, setOutput } from './workflow.ts';

async function main(): Promise<void> {
  const { ok, stdout, reason } = await run(
    'docker',
    inspectArgs(new Reader(process.env).text('name')),
  );
  if (!ok) throw new Error(reason);
  const builder = parseInspect(stdout);
  if (!gateway.reachable(builder)) {
    throw new Error(`a ${builder.driver} builder cannot be asked from here`);
  }
  const outputs = report(await Promise.all(builder.nodes.map(gateway.stats)));
  for (const [name, value] of Object.entries(outputs)) {
    info(`${name}: ${value}`);
    setOutput(name, value);
  }
}

// What builds have done is known without it: a report that cannot be made fails no job.
main().catch((error: unknown) => {
  annotate('warning', `There is no report, and its outputs are empty: ${reasonOf(error)}`);
});
