/** The main phase: makes the builder. */
import { randomUUID } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  appendArgs,
  bootstrapArgs,
  createArgs,
  inspectArgs,
  removeArgs,
  type Kind,
} from './builder.ts';
import * as gateway from './gateway.ts';
import { readInputs, type Inputs } from './inputs.ts';
import { allPlatforms, parseInspect, type Builder } from './nodes.ts';
import { reasonOf, run, runLogged, type RunOptions } from './process.ts';
import { InputError } from './reader.ts';
import { exportPlaceholder, exportRuntime } from './runtime.ts';
import * as state from './state.ts';
import { annotate, fail, group, info, mask, setOutput } from './workflow.ts';

/** How long nodes may take to start, the pull of the image included. */
const BOOT_MS = 10 * 60_000;

/** How long the retry of a start waits: a registry that throttles or restarts needs some seconds. */
const RETRY_MS = 5000;

/** How the time until a retry passes. */
export type Wait = (milliseconds: number) => Promise<unknown>;

/** Makes the builder, or marks the step as failed. */
export async function setUp(wait: Wait): Promise<void> {
  try {
    await makeBuilder(
      readInputs(process.env, () => `builder-${randomUUID()}`),
      wait,
    );
  } catch (error) {
    if (error instanceof InputError) {
      error.problems.forEach((problem) => fail(problem));
    } else {
      fail(reasonOf(error));
    }
  }
}

async function makeBuilder(inputs: Inputs, wait: Wait): Promise<void> {
  inputs.warnings.forEach((warning) => annotate('warning', warning));
  if (inputs.service !== undefined) mask(inputs.service.token);
  const exported = exportRuntime(process.env);
  info(
    exported.length > 0
      ? `Later steps of this job have ${exported.join(', ')}.`
      : 'This runner has no cache service: ACTIONS_RUNTIME_TOKEN is not set.',
  );
  await checkBuildx();
  const kept = { ...inputs, drainTimeout: inputs.drainTimeout.text, fallback: '' };
  // Before anything is made: what is made must be removed, whatever happens.
  remember(kept);
  const fallback = await start(inputs, wait);
  if (fallback === undefined) {
    if (exported.length === 0 && inputs.service !== undefined) exportPlaceholder(inputs.service);
  } else {
    remember({ ...kept, fallback });
  }
  const builder = await inspect(inputs.name);
  setOutputs(inputs.name, builder);
  if (fallback === undefined && gateway.reachable(builder)) {
    await prepareNodes(inputs, builder);
  }
}

function remember({ name, cleanup, keepState, drainTimeout, summary, fallback }: state.State) {
  state.save({ name, cleanup, keepState, drainTimeout, summary, fallback });
}

async function checkBuildx(): Promise<void> {
  await group('Versions', async () => {
    const { ok, reason } = await runLogged('docker', ['buildx', 'version']);
    if (!ok) {
      throw new Error(`docker buildx is needed, and does not run here: ${reason}`);
    }
  });
}

/** Starts the builder; the answer is why it is stock BuildKit, if it is. */
async function start(inputs: Inputs, wait: Wait): Promise<string | undefined> {
  if ((await run('docker', inspectArgs(inputs.name))).ok) {
    info(`The builder ${inputs.name} exists and is used as it is.`);
    await group('Starting the builder', () => boot(inputs.name));
    return undefined;
  }
  await group('Creating the builder', () => create(inputs, 'gateway'));
  try {
    await group('Starting the builder', () => bootWithRetry(inputs.name, wait));
    return undefined;
  } catch (error) {
    if (inputs.driver === 'remote') throw error;
    return await fallBack(inputs, `${inputs.image} could not be started: ${reasonOf(error)}`, wait);
  }
}

/** Without our image there is a builder all the same, and nobody can miss that it is not ours. */
async function fallBack(inputs: Inputs, reason: string, wait: Wait): Promise<string> {
  await run('docker', removeArgs(inputs.name, false));
  if (inputs.failOnFallback) {
    throw new Error(`${reason}. \`fail-on-fallback\` is set, so there is no builder.`);
  }
  try {
    await group('Creating a builder with stock BuildKit', () => create(inputs, 'stock'));
    await group('Starting the builder', () => bootWithRetry(inputs.name, wait));
  } catch (error) {
    throw new Error(`${reason}. Stock BuildKit could not be started either: ${reasonOf(error)}`);
  }
  annotate(
    'error',
    `${reason}. This job builds with stock BuildKit: what buildkit-gha does for caches is missing, ` +
      'and a fault of the cache can fail a build.',
  );
  return reason;
}

async function create(inputs: Inputs, kind: Kind): Promise<void> {
  const configFile = writeConfig(inputs);
  try {
    await docker(createArgs(inputs, kind, configFile), 'the builder', inputs);
    for (const node of inputs.append) {
      await docker(appendArgs(inputs, node, kind, configFile), `node ${node.name}`, inputs);
    }
  } finally {
    // buildx has read it.
    if (configFile !== inputs.configFile) rmSync(configFile, { force: true });
  }
}

async function docker(args: string[], what: string, inputs: Inputs): Promise<void> {
  const secret = inputs.service?.token;
  const options: RunOptions = secret === undefined ? {} : { secret };
  const { ok, reason } = await runLogged('docker', args, options);
  if (!ok) throw new Error(`${what} could not be made: ${reason}`);
}

/** The file with buildkitd.toml, or an empty text. */
function writeConfig(inputs: Inputs): string {
  if (inputs.configInline === '') return inputs.configFile;
  const dir = process.env['RUNNER_TEMP'] || tmpdir();
  const file = path.join(dir, `buildkitd-${randomUUID()}.toml`);
  writeFileSync(file, `${inputs.configInline}\n`, { mode: 0o600 });
  return file;
}

async function boot(name: string): Promise<void> {
  // Its standard output is what the outputs tell in short.
  const options: RunOptions = { echo: 'stderr', timeoutMs: BOOT_MS };
  const { ok, reason } = await runLogged('docker', bootstrapArgs(name), options);
  if (!ok) throw new Error(reason);
}

async function bootWithRetry(name: string, wait: Wait): Promise<void> {
  try {
    await boot(name);
  } catch (error) {
    info(`${reasonOf(error)}; trying once more`);
    await wait(RETRY_MS);
    await boot(name);
  }
}

async function inspect(name: string): Promise<Builder> {
  const { ok, stdout, reason } = await run('docker', inspectArgs(name));
  if (!ok) throw new Error(`the builder ${name} cannot be inspected: ${reason}`);
  return parseInspect(stdout);
}

function setOutputs(name: string, builder: Builder): void {
  setOutput('name', name);
  setOutput('driver', builder.driver);
  setOutput('platforms', allPlatforms(builder.nodes));
  setOutput('nodes', JSON.stringify(builder.nodes, undefined, 2));
}

/** Gives the nodes what they need, and says what they are. */
async function prepareNodes(inputs: Inputs, builder: Builder): Promise<void> {
  for (const node of builder.nodes) {
    const version = await gateway.version(node);
    if (!version.ok) {
      annotate('warning', `${node.name} does not run buildkit-gha: ${version.reason}`);
      continue;
    }
    info(`${node.name}: ${version.stdout.trim()}, BuildKit ${node.buildkit ?? 'unknown'}`);
    if (inputs.service !== undefined) {
      const { ok, reason } = await gateway.writeToken(node, inputs.service.token);
      if (!ok) annotate('warning', `${node.name} has not got the token: ${reason}`);
    }
  }
}
