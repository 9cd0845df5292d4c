/** The post phase: uploads end, the summary is written, the builder goes. Nothing here fails a job. */
import { inspectArgs, removeArgs } from './builder.ts';
import { parseDuration } from './duration.ts';
import * as gateway from './gateway.ts';
import { parseInspect, type Builder } from './nodes.ts';
import { reasonOf, run, runLogged } from './process.ts';
import type { State } from './state.ts';
import { addSummary, annotate, group, info, isDebug, quote } from './workflow.ts';

/** How long the removal may take: a container may have a lot on the disk. */
const REMOVE_MS = 5 * 60_000;

/** Does all that there is to do, each part whatever became of the others. */
export async function finish(state: State): Promise<void> {
  const { ok, stdout, reason } = await run('docker', inspectArgs(state.name));
  if (!ok) {
    info(`There is no builder ${state.name}: ${reason}`);
    return;
  }
  const builder = parseInspect(stdout);
  if (state.fallback !== '') {
    await attempt('write the summary', async () => summarizeFallback(state));
  } else if (gateway.reachable(builder)) {
    await attempt('wait for uploads', () => drain(state, builder));
    await attempt('write the summary', () => summarize(state, builder));
  } else {
    info(`Uploads and statistics of a ${builder.driver} builder cannot be reached from here.`);
  }
  if (isDebug() && gateway.reachable(builder)) {
    await attempt('show the log', () => showLogs(builder));
  }
  if (state.cleanup) {
    await attempt('remove the builder', () => remove(state));
  }
}

async function attempt(what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    warn(`could not ${what}: ${reasonOf(error)}`);
  }
}

function warn(text: string): void {
  annotate('warning', text);
}

async function drain(state: State, builder: Builder): Promise<void> {
  const timeout = parseDuration(state.drainTimeout);
  const work = builder.nodes.map(async (node) => {
    const { ok, reason } = await gateway.drain(node, timeout);
    if (!ok) warn(`${node.name}: not all exports to the cache are written: ${reason}`);
  });
  await group('Waiting for uploads', () => Promise.all(work));
}

async function summarize(state: State, builder: Builder): Promise<void> {
  if (!state.summary) return;
  for (const node of builder.nodes) {
    const { ok, stdout, reason } = await gateway.summary(node);
    if (!ok) {
      warn(`${node.name}: no summary: ${reason}`);
    } else if (stdout.trim() !== '') {
      const title = builder.nodes.length > 1 ? `### ${node.name}\n\n` : '';
      addSummary(`${title}${stdout}`);
    }
  }
}

function summarizeFallback(state: State): void {
  if (!state.summary) return;
  addSummary(`### Docker build cache: stock BuildKit was used\n\n    ${state.fallback}`);
}

async function showLogs(builder: Builder): Promise<void> {
  for (const node of builder.nodes) {
    const { stdout, stderr } = await gateway.logs(node);
    await group(`Log of ${node.name}`, async () => quote(`${stdout}${stderr}`));
  }
}

async function remove(state: State): Promise<void> {
  await group('Removing the builder', async () => {
    const args = removeArgs(state.name, state.keepState);
    const { ok, reason } = await runLogged('docker', args, { timeoutMs: REMOVE_MS });
    if (!ok) throw new Error(reason);
  });
}
