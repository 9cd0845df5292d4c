/** The arguments of `docker buildx` for what the inputs ask for. */
import type { Inputs, NodeSpec } from './inputs.ts';

/** What setup-buildx starts BuildKit with where nothing else is asked for. */
const DEFAULT_BUILDKITD_FLAGS =
  '--allow-insecure-entitlement security.insecure --allow-insecure-entitlement network.host';

/**
 * Where a node of the docker-container driver has the token of the service. A file is in nobody's
 * `docker inspect`, and may be written again while the builder lives.
 */
export const TOKEN_FILE = '/run/buildkit-gha/token';

/** `gateway`: our image. `stock`: BuildKit's own, the fallback. */
export type Kind = 'gateway' | 'stock';

/** `--driver-opt` takes a line of CSV. */
export function driverOption(name: string, value: string): string {
  const option = `${name}=${value}`;
  return /[",\r\n]/.test(option) ? `"${option.replaceAll('"', '""')}"` : option;
}

/** Makes the builder with its first node. `configFile` is a file with buildkitd.toml, or empty. */
export function createArgs(inputs: Inputs, kind: Kind, configFile: string): string[] {
  const args = ['buildx', 'create', '--name', inputs.name, '--driver', inputs.driver];
  args.push(...nodeArgs(inputs, kind, inputs));
  if (inputs.platforms.length > 0) args.push('--platform', inputs.platforms.join(','));
  if (inputs.use) args.push('--use');
  if (configFile !== '') args.push('--buildkitd-config', configFile);
  if (inputs.endpoint !== '') args.push(inputs.endpoint);
  return args;
}

/** Adds another node to the builder. */
export function appendArgs(
  inputs: Inputs,
  node: NodeSpec,
  kind: Kind,
  configFile: string,
): string[] {
  const args = ['buildx', 'create', '--name', inputs.name, '--append'];
  if (node.name !== '') args.push('--node', node.name);
  args.push(...nodeArgs(inputs, kind, node));
  if (node.platforms !== '') args.push('--platform', node.platforms);
  if (configFile !== '') args.push('--buildkitd-config', configFile);
  if (node.endpoint !== '') args.push(node.endpoint);
  return args;
}

function nodeArgs(
  inputs: Inputs,
  kind: Kind,
  node: Pick<NodeSpec, 'driverOpts' | 'buildkitdFlags'>,
): string[] {
  const own = node.driverOpts;
  const options =
    kind === 'stock'
      ? own.filter((option) => !isImage(option))
      : [...gatewayOptions(inputs, own), ...own];
  const args = options.flatMap((option) => ['--driver-opt', option]);
  const byDefault = inputs.driver === 'remote' ? '' : DEFAULT_BUILDKITD_FLAGS;
  const flags = node.buildkitdFlags || byDefault;
  if (flags !== '') args.push('--buildkitd-flags', flags);
  return args;
}

function isImage(option: string): boolean {
  return option.startsWith('image=');
}

function gatewayOptions(inputs: Inputs, own: string[]): string[] {
  const options: string[] = [];
  const image = inputs.image;
  // A node of `append` may have an image of its own.
  if (image !== undefined && !own.some(isImage)) {
    options.push(driverOption('image', image));
  }
  if (inputs.service !== undefined) {
    options.push(driverOption('env.BUILDKIT_GHA_URL', inputs.service.url));
    options.push(
      inputs.driver === 'docker-container'
        ? driverOption('env.BUILDKIT_GHA_TOKEN_FILE', TOKEN_FILE)
        : driverOption('env.BUILDKIT_GHA_TOKEN', inputs.service.token),
    );
  }
  if (inputs.cacheMounts !== '') {
    options.push(driverOption('env.BUILDKIT_GHA_CACHE_MOUNTS', inputs.cacheMounts));
  }
  return options;
}

/** Starts all nodes that do not run yet, and says what they are. */
export function bootstrapArgs(name: string): string[] {
  return ['buildx', 'inspect', '--bootstrap', '--builder', name];
}

/** Says what the builder is; without a name, the one that builds use. */
export function inspectArgs(name: string): string[] {
  return ['buildx', 'inspect', ...(name === '' ? [] : [name])];
}

/** Removes the builder, with its cache unless that is to stay. */
export function removeArgs(name: string, keepState: boolean): string[] {
  return ['buildx', 'rm', ...(keepState ? ['--keep-state'] : []), name];
}
