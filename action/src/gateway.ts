/** The gateway inside of a node: commands that are run there. */
import { TOKEN_FILE } from './builder.ts';
import type { Duration } from './duration.ts';
import type { Builder, Node } from './nodes.ts';
import { run, type Finished, type RunOptions } from './process.ts';
import type { Stats } from './stats.ts';

/** What buildx puts before the name of a node to name its container. */
const CONTAINER_PREFIX = 'buildx_buildkit_';

/** How much longer than it was asked to a drain may take before its client is ended. */
const DRAIN_GRACE_MS = 15_000;

/**
 * Writes what it reads to the token's file. Only the user that the gateway runs as may read that: the
 * rootless image has another one than root.
 */
const WRITE_TOKEN = `set -e; umask 077; dir=$(dirname "$1"); mkdir -p "$dir"; cat >"$1.new"; mv "$1.new" "$1"
chown -R "$(stat -c %u:%g /proc/1)" "$dir"`;

/** Whether commands can be run in the nodes of this builder. */
export function reachable(builder: Builder): boolean {
  return builder.driver === 'docker-container';
}

/** The engine of a node: an address, the name of a context, or the current one. */
function engineArgs(node: Node): string[] {
  const endpoint = node.endpoint ?? '';
  if (endpoint === '') return [];
  return endpoint.includes('://') ? ['--host', endpoint] : ['--context', endpoint];
}

function containerOf(node: Node): string {
  return `${CONTAINER_PREFIX}${node.name}`;
}

function gateway(node: Node, args: string[], options: RunOptions = {}): Promise<Finished> {
  const all = [...engineArgs(node), 'exec', containerOf(node), 'buildkit-gha', ...args];
  return run('docker', all, options);
}

/** The gateway's version; fails where there is none. */
export function version(node: Node): Promise<Finished> {
  return gateway(node, ['--version']);
}

/** Gives the node the token of the service. Nobody sees it on a command line. */
export function writeToken(node: Node, token: string): Promise<Finished> {
  const exec = ['exec', '--interactive', '--user', '0', containerOf(node)];
  const shell = ['sh', '-c', WRITE_TOKEN, 'sh', TOKEN_FILE];
  return run('docker', [...engineArgs(node), ...exec, ...shell], { input: `${token}\n` });
}

/** Waits until all uploads of the node are done, for as long as is said. */
export function drain(node: Node, timeout: Duration): Promise<Finished> {
  // It says what it waits for.
  const timeoutMs = timeout.milliseconds + DRAIN_GRACE_MS;
  return gateway(node, ['drain', '--timeout', timeout.text], { echo: 'all', timeoutMs });
}

/** What the last builds of the node did, as Markdown. */
export function summary(node: Node): Promise<Finished> {
  return gateway(node, ['stats', '--format', 'markdown']);
}

/** What the last builds of the node did; throws where there is no answer. */
export async function stats(node: Node): Promise<Stats> {
  const { ok, stdout, reason } = await gateway(node, ['stats', '-o', 'json']);
  if (!ok) throw new Error(reason);
  return JSON.parse(stdout) as Stats;
}

/** The log of a node. */
export function logs(node: Node): Promise<Finished> {
  return run('docker', [...engineArgs(node), 'logs', containerOf(node)]);
}
