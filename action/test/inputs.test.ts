import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNodes, readInputs, type Inputs } from '../src/inputs.ts';
import { InputError } from '../src/reader.ts';

declare const ACTION_VERSION: string;

const RUNNER = { GITHUB_ACTION_REPOSITORY: 'Some-Owner/some-name' };

function read(inputs: Record<string, string>, env: Record<string, string> = RUNNER): Inputs {
  const variables = Object.entries(inputs).map(([name, value]) => [
    `INPUT_${name.toUpperCase()}`,
    value,
  ]);
  return readInputs({ ...env, ...Object.fromEntries(variables) }, () => 'made-up');
}

function problems(inputs: Record<string, string>): string[] {
  try {
    read(inputs);
  } catch (error) {
    assert.ok(error instanceof InputError);
    return error.problems;
  }
  return [];
}

test('nothing is needed', () => {
  assert.deepEqual(read({}), {
    name: 'made-up',
    driver: 'docker-container',
    image: 'ghcr.io/some-owner/buildkit-gha:' + ACTION_VERSION,
    endpoint: '',
    driverOpts: [],
    buildkitdFlags: '',
    configFile: '',
    configInline: '',
    platforms: [],
    use: true,
    append: [],
    keepState: false,
    cleanup: true,
    service: undefined,
    cacheMounts: '',
    drainTimeout: { text: '300s', milliseconds: 300_000 },
    summary: true,
    failOnFallback: false,
    warnings: [],
  });
});

test('the image is that of the owner of the action', () => {
  assert.equal(read({ version: 'v1.2.3' }).image, 'ghcr.io/some-owner/buildkit-gha:1.2.3');
  assert.equal(read({ version: 'edge' }).image, 'ghcr.io/some-owner/buildkit-gha:edge');
  const local = { GITHUB_ACTION_REPOSITORY: '', GITHUB_REPOSITORY: 'me/mine' };
  assert.equal(read({ version: '2' }, local).image, 'ghcr.io/me/buildkit-gha:2');
  assert.throws(() => read({}, {}), /GITHUB_ACTION_REPOSITORY/);
});

test('the image may be named, once, in either place', () => {
  assert.equal(read({ image: 'my-registry/gha:7' }).image, 'my-registry/gha:7');
  const inputs = read({ 'driver-opts': 'network=host\nimage=my-registry/gha:8\n' });
  assert.equal(inputs.image, 'my-registry/gha:8');
  assert.deepEqual(inputs.driverOpts, ['network=host']);
  assert.match(
    problems({ image: 'a', 'driver-opts': 'image=b' }).join(),
    /^image: .*`driver-opts` too/,
  );
});

test('lists are lines, platforms may have commas', () => {
  const inputs = read({
    'driver-opts': ' network=host \n\n"env.A=1,2"\n',
    platforms: 'linux/amd64, linux/arm64\nlinux/arm/v7',
  });
  assert.deepEqual(inputs.driverOpts, ['network=host', '"env.A=1,2"']);
  assert.deepEqual(inputs.platforms, ['linux/amd64', 'linux/arm64', 'linux/arm/v7']);
});

test('all that is wrong is said at once', () => {
  const all = problems({
    driver: 'docker',
    use: 'yes',
    'drain-timeout': '5 minutes',
    url: 'cache.example',
    token: 't',
    append: 'endpoint: x',
    'buildkitd-config': 'a.toml',
    'buildkitd-config-inline': 'debug = true',
  });
  const names = all.map((problem) => problem.split(':')[0]);
  const wrong = ['append', 'buildkitd-config', 'drain-timeout', 'driver', 'url', 'use'];
  assert.deepEqual(names.sort(), wrong);
});

test('durations are those of buildkit-gha', () => {
  assert.equal(read({ 'drain-timeout': '1m30s' }).drainTimeout.milliseconds, 90_000);
  assert.equal(read({ 'drain-timeout': '0s' }).drainTimeout.milliseconds, 0);
  assert.equal(problems({ 'drain-timeout': '300' }).length, 1);
});

test('a URL without a token costs the cache, not the job', () => {
  const inputs = read({ url: 'https://cache.example/', token: '' });
  assert.equal(inputs.service, undefined);
  assert.match(inputs.warnings.join(), /`url` is ignored: `token` is empty/);
  const both = read({ url: 'https://cache.example/', token: 't' });
  assert.deepEqual(both.service, { url: 'https://cache.example/', token: 't' });
});

test('a remote builder is what it is', () => {
  const inputs = read({ driver: 'remote', endpoint: 'tcp://builder.example:1234' });
  assert.equal(inputs.image, undefined);
  const wrong = { url: 'https://cache.example', token: 't', 'cache-mounts': 'auto', image: 'x' };
  const all = problems({ driver: 'remote', ...wrong, 'keep-state': 'true' }).map(
    (problem) => problem.split(':')[0],
  );
  assert.deepEqual(all.sort(), ['cache-mounts', 'endpoint', 'image', 'keep-state', 'url']);
});

test('nodes are written as for setup-buildx', () => {
  const nodes = parseNodes(`
    - endpoint: ssh://me@arm.example
      platforms: linux/arm64
      driver-opts:
        - network=host
        - env.A=1
      buildkitd-flags: --debug
    - name: second
      driver-opts: network=host
      platforms: [linux/riscv64, linux/s390x]`);
  assert.deepEqual(nodes, [
    {
      name: '',
      endpoint: 'ssh://me@arm.example',
      driverOpts: ['network=host', 'env.A=1'],
      buildkitdFlags: '--debug',
      platforms: 'linux/arm64',
    },
    {
      name: 'second',
      endpoint: '',
      driverOpts: ['network=host'],
      buildkitdFlags: '',
      platforms: 'linux/riscv64,linux/s390x',
    },
  ]);
  assert.throws(() => parseNodes('- endpont: x'), /node 1 has "endpont"/);
  assert.throws(() => parseNodes('- x'), /node 1 is no mapping/);
  assert.throws(() => parseNodes('a: ['), /flow collection|unexpected end/i);
});
