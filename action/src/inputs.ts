/** The inputs of the step. All that is wrong is reported in one run. */
import { load } from 'js-yaml';
import { builderImage } from './image.ts';
import type { Duration } from './duration.ts';
import { list, Reader } from './reader.ts';

/** The drivers that start or reach a BuildKit in which the gateway can be. */
const DRIVERS = ['docker-container', 'kubernetes', 'remote'] as const;
export type Driver = (typeof DRIVERS)[number];

/** A node of `append`, in the words of setup-buildx. */
export interface NodeSpec {
  name: string;
  endpoint: string;
  driverOpts: string[];
  buildkitdFlags: string;
  platforms: string;
}

/** A cache service for all builds of the builder. */
export interface Service {
  url: string;
  token: string;
}

export interface Inputs {
  name: string;
  driver: Driver;
  /** Of the builder's image; a remote builder has one already. */
  image: string | undefined;
  endpoint: string;
  driverOpts: string[];
  buildkitdFlags: string;
  configFile: string;
  configInline: string;
  platforms: string[];
  use: boolean;
  append: NodeSpec[];
  keepState: boolean;
  cleanup: boolean;
  service: Service | undefined;
  cacheMounts: string;
  drainTimeout: Duration;
  summary: boolean;
  failOnFallback: boolean;
  /** What is ignored, and why. */
  warnings: string[];
}

/** Reads everything; `newName` makes a name for a builder that has none. */
export function readInputs(env: NodeJS.ProcessEnv, newName: () => string): Inputs {
  const reader = new Reader(env);
  const driver = readDriver(reader);
  const { driverOpts, image } = readImage(reader, driver, env);
  const warnings: string[] = [];
  const inputs: Inputs = {
    name: reader.text('name') || newName(),
    driver,
    image,
    endpoint: reader.text('endpoint'),
    driverOpts,
    buildkitdFlags: reader.text('buildkitd-flags'),
    configFile: reader.text('buildkitd-config'),
    configInline: reader.text('buildkitd-config-inline'),
    platforms: list(reader.text('platforms'), /[,\n]/),
    use: reader.boolean('use', true),
    append: reader.attempt('append', () => parseNodes(reader.text('append'))) ?? [],
    keepState: reader.boolean('keep-state', false),
    cleanup: reader.boolean('cleanup', true),
    service: readService(reader, warnings),
    cacheMounts: reader.text('cache-mounts'),
    drainTimeout: reader.duration('drain-timeout', '300s'),
    summary: reader.boolean('summary', true),
    failOnFallback: reader.boolean('fail-on-fallback', false),
    warnings,
  };
  checkTogether(reader, inputs);
  reader.finish();
  return inputs;
}

function readDriver(reader: Reader): Driver {
  const text = reader.text('driver') || 'docker-container';
  const driver = DRIVERS.find((known) => known === text);
  if (driver === undefined) {
    const why = text === 'docker' ? ': the BuildKit inside dockerd cannot be replaced' : '';
    reader.problems.push(`driver: "${text}" is none of ${DRIVERS.join(', ')}${why}`);
  }
  return driver ?? 'docker-container';
}

/** The image may also stand where setup-buildx has it, in `driver-opts`. */
function readImage(reader: Reader, driver: Driver, env: NodeJS.ProcessEnv) {
  const all = reader.lines('driver-opts');
  const driverOpts = all.filter((option) => !option.startsWith('image='));
  const images = all.filter((option) => option.startsWith('image='));
  const asked = reader.text('image');
  if (driver === 'remote') {
    if (asked || reader.text('version') || images.length > 0) {
      reader.problems.push('image: a remote builder runs already, so it has an image');
    }
    return { driverOpts, image: undefined };
  }
  if (asked && images.length > 0) {
    reader.problems.push('image: it is in `driver-opts` too; name it once');
  }
  const image = asked || (images.at(-1)?.slice('image='.length) ?? '');
  const source = { image, version: reader.text('version'), env };
  return { driverOpts, image: reader.attempt('image', () => builderImage(source)) };
}

/** In a pull request of a fork secrets are empty: that costs the cache, not the build. */
function readService(reader: Reader, warnings: string[]): Service | undefined {
  const url = reader.text('url');
  const token = reader.text('token');
  if (url !== '') {
    reader.attempt('url', () => checkUrl(url));
  }
  if (url !== '' && token !== '') {
    return { url, token };
  }
  if (url !== '' || token !== '') {
    const [set, unset] = url !== '' ? ['url', 'token'] : ['token', 'url'];
    warnings.push(`\`${set}\` is ignored: \`${unset}\` is empty, and they go together`);
  }
  return undefined;
}

function checkUrl(text: string): void {
  if (!URL.canParse(text) || !/^https?:/.test(text)) {
    throw new Error(`"${text}" is no http or https URL`);
  }
}

function checkTogether(reader: Reader, inputs: Inputs): void {
  if (inputs.keepState && inputs.driver !== 'docker-container') {
    reader.problems.push('keep-state: only the docker-container driver has it');
  }
  if (inputs.configFile !== '' && inputs.configInline !== '') {
    reader.problems.push('buildkitd-config: give it or buildkitd-config-inline, not both');
  }
  if (inputs.driver !== 'remote') return;
  if (inputs.endpoint === '') {
    reader.problems.push('endpoint: the remote driver needs the address of the builder');
  }
  const settings = { url: inputs.service?.url, 'cache-mounts': inputs.cacheMounts };
  for (const [name, value] of Object.entries(settings)) {
    if (value) {
      reader.problems.push(`${name}: set it where the remote builder is started`);
    }
  }
}

/** `append`: a list of nodes in YAML. */
export function parseNodes(yaml: string): NodeSpec[] {
  if (yaml === '') return [];
  const nodes: unknown = load(yaml);
  if (!Array.isArray(nodes)) {
    throw new Error('it must be a list of nodes in YAML');
  }
  return nodes.map(parseNode);
}

function parseNode(node: unknown, index: number): NodeSpec {
  const where = `node ${index + 1}`;
  if (typeof node !== 'object' || node === null || Array.isArray(node)) {
    throw new Error(`${where} is no mapping`);
  }
  const { name, endpoint, platforms, ...rest } = node as Record<string, unknown>;
  const { 'driver-opts': driverOpts, 'buildkitd-flags': buildkitdFlags, ...unknown } = rest;
  const [other] = Object.keys(unknown);
  if (other !== undefined) {
    throw new Error(`${where} has "${other}", which is nothing that a node has`);
  }
  return {
    name: scalar(name, `${where}, name`),
    endpoint: scalar(endpoint, `${where}, endpoint`),
    driverOpts: scalars(driverOpts, '\n', `${where}, driver-opts`),
    buildkitdFlags: scalar(buildkitdFlags, `${where}, buildkitd-flags`),
    platforms: scalars(platforms, ',', `${where}, platforms`).join(','),
  };
}

function scalar(value: unknown, where: string): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'object') throw new Error(`${where} must be a text`);
  return String(value).trim();
}

function scalars(value: unknown, separator: string, where: string): string[] {
  if (Array.isArray(value)) return value.map((item) => scalar(item, where));
  return list(scalar(value, where), separator);
}
