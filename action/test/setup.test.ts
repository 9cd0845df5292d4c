import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import type { Rule } from './support/docker.ts';
import { Job, type Phase } from './support/job.ts';

const IMAGE = 'ghcr.io/owner/buildkit-gha:9';
const RUNNER = { GITHUB_ACTION_REPOSITORY: 'owner/name' };

const BUILDER = `Name:   b
Driver: docker-container

Nodes:
Name:             b0
Endpoint:         unix:///run/engine.sock
Driver Options:   image="${IMAGE}" network="host"
Status:           running
BuildKit version: v0.34.2
Platforms:        linux/amd64, linux/386
`;

/** There is no builder before it was created, and one afterwards. */
const NEW: Rule[] = [
  { has: 'inspect b', exit: 1, stderr: 'ERROR: no builder "b" found\n', times: 1 },
  { has: 'inspect b', stdout: BUILDER },
];

/** The image cannot be had. */
const REASON = 'ERROR: manifest unknown';
const NO_IMAGE: Rule = { has: '--bootstrap', exit: 1, stderr: `#1 pulling\n${REASON}\n` };

function job(t: TestContext, rules: Rule[], env: Record<string, string> = {}): Job {
  const job = new Job({ ...RUNNER, ...env });
  t.after(() => job.remove());
  job.docker.answer(rules);
  return job;
}

function setUp(job: Job, inputs: Record<string, string> = {}): Phase {
  return job.action({ name: 'b', version: '9', ...inputs });
}

function annotations(phase: Phase, level: string): string[] {
  return phase.log.split('\n').filter((line) => line.startsWith(`::${level} `));
}

describe('a builder', () => {
  test('is created, started and described', (t) => {
    const one = job(t, NEW);
    const phase = setUp(one, { 'driver-opts': 'network=host', platforms: 'linux/amd64' });
    assert.equal(phase.exitCode, 0, phase.log);
    const flags =
      '--allow-insecure-entitlement security.insecure --allow-insecure-entitlement network.host';
    assert.deepEqual(one.docker.call('create').args, [
      ...['buildx', 'create', '--name', 'b', '--driver', 'docker-container'],
      ...['--driver-opt', `image=${IMAGE}`, '--driver-opt', 'network=host'],
      ...['--buildkitd-flags', flags, '--platform', 'linux/amd64', '--use'],
    ]);
    const order = one.docker.lines().map((line) => line.split(' ').slice(0, 3).join(' '));
    assert.deepEqual(order, [
      ...['buildx version', 'buildx inspect b', 'buildx create --name'],
      ...['buildx inspect --bootstrap', 'buildx inspect b', '--host unix:///run/engine.sock exec'],
    ]);
    const { nodes, ...outputs } = phase.outputs;
    const platforms = 'linux/amd64,linux/386';
    assert.deepEqual(outputs, { name: 'b', driver: 'docker-container', platforms });
    const [node] = JSON.parse(nodes ?? '') as Record<string, unknown>[];
    assert.deepEqual(node?.['driver-opts'], [`image=${IMAGE}`, 'network=host']);
    assert.deepEqual(annotations(phase, 'error'), []);
  });

  test('that exists is used as it is', (t) => {
    const one = job(t, [{ has: 'inspect b', stdout: BUILDER }]);
    assert.equal(setUp(one).exitCode, 0);
    assert.deepEqual(
      one.docker.lines().filter((line) => line.includes('create')),
      [],
    );
  });

  test('has a name of its own if none is given', (t) => {
    const one = job(t, [{ has: 'inspect builder-', exit: 1, times: 1 }]);
    const { outputs } = one.action({ version: '9' });
    assert.match(outputs['name'] ?? '', /^builder-[0-9a-f-]{36}$/);
  });

  test('reads a buildkitd.toml that is gone afterwards', (t) => {
    const one = job(t, NEW);
    setUp(one, { 'buildkitd-config-inline': '[worker.oci]\n  max-parallelism = 2', use: 'false' });
    const { args, config } = one.docker.call('create');
    assert.equal(config, '[worker.oci]\n  max-parallelism = 2\n');
    assert.ok(!args.includes('--use'));
    const file = args[args.indexOf('--buildkitd-config') + 1] ?? '';
    assert.ok(file.startsWith(one.dir));
    assert.throws(() => one.read(file), /ENOENT/);
  });

  test('has further nodes, with our image and the service of the first', (t) => {
    const one = job(t, NEW);
    setUp(one, {
      append: '- { name: b1, endpoint: arm, platforms: linux/arm64, driver-opts: [env.A=1] }',
      url: 'https://cache.example/',
      token: 'top-secret',
      'cache-mounts': 'npm,go',
    });
    assert.deepEqual(one.docker.call('--append').args.slice(4), [
      ...['--append', '--node', 'b1', '--driver-opt', `image=${IMAGE}`],
      ...['--driver-opt', 'env.BUILDKIT_GHA_URL=https://cache.example/'],
      ...['--driver-opt', 'env.BUILDKIT_GHA_TOKEN_FILE=/run/buildkit-gha/token'],
      ...['--driver-opt', '"env.BUILDKIT_GHA_CACHE_MOUNTS=npm,go"', '--driver-opt', 'env.A=1'],
      '--buildkitd-flags',
      '--allow-insecure-entitlement security.insecure --allow-insecure-entitlement network.host',
      ...['--platform', 'linux/arm64', 'arm'],
    ]);
  });

  test('that is remote gets no image, no flags and no commands', (t) => {
    const remote = BUILDER.replace('docker-container', 'remote');
    const [absent] = NEW;
    const one = job(t, [absent!, { has: 'inspect b', stdout: remote }]);
    const phase = setUp(one, {
      version: '',
      driver: 'remote',
      endpoint: 'tcp://builder.example:1234',
    });
    assert.equal(phase.exitCode, 0, phase.log);
    assert.deepEqual(one.docker.call('create').args.slice(4), [
      ...['--driver', 'remote', '--use', 'tcp://builder.example:1234'],
    ]);
    assert.deepEqual(
      one.docker.lines().filter((line) => line.includes('exec')),
      [],
    );
  });
});

describe('a token', () => {
  const inputs = { url: 'https://cache.example/', token: 'top-secret' };

  test('reaches the node on standard input, and no command line', (t) => {
    const one = job(t, NEW);
    const phase = setUp(one, inputs);
    assert.equal(one.docker.call('sh -c').input, 'top-secret\n');
    assert.ok(!one.docker.lines().join('\n').includes('top-secret'));
    const [mask, ...others] = phase.log.split('\n').filter((line) => line.includes('top-secret'));
    assert.equal(mask, '::add-mask::top-secret');
    assert.deepEqual(others, []);
  });

  test('is a variable where no command can be run, and is in no log', (t) => {
    const one = job(t, NEW);
    const phase = setUp(one, { ...inputs, driver: 'kubernetes' });
    assert.ok(one.docker.call('create').args.includes('env.BUILDKIT_GHA_TOKEN=top-secret'));
    const lines = phase.log.split('\n').filter((line) => line.includes('top-secret'));
    assert.deepEqual(lines, ['::add-mask::top-secret']);
  });
});

describe('the variables of the runner', () => {
  const runtime = {
    ACTIONS_RUNTIME_TOKEN: 'runtime-token',
    ACTIONS_RESULTS_URL: 'https://results.example/',
    ACTIONS_CACHE_URL: 'https://cache.example/',
    ACTIONS_CACHE_SERVICE_V2: 'true',
  };

  test('reach later steps, the token masked', (t) => {
    const phase = setUp(job(t, NEW, { ...runtime, ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'other' }));
    assert.deepEqual(phase.exported, runtime);
    assert.deepEqual(
      phase.log.split('\n').filter((line) => line.includes('runtime-token')),
      ['::add-mask::runtime-token'],
    );
  });

  test('are made up only for a builder with a service of its own', (t) => {
    assert.deepEqual(setUp(job(t, NEW)).exported, {});
    const service = { url: 'https://cache.example/', token: 'top-secret' };
    assert.deepEqual(setUp(job(t, NEW), service).exported, {
      ACTIONS_RUNTIME_TOKEN: 'set-on-the-builder',
      ACTIONS_RESULTS_URL: 'https://cache.example/',
      ACTIONS_CACHE_SERVICE_V2: 'true',
    });
    assert.deepEqual(setUp(job(t, NEW, runtime), service).exported, runtime);
    // Stock BuildKit would take them at their word.
    assert.deepEqual(setUp(job(t, [{ ...NO_IMAGE, times: 2 }, ...NEW]), service).exported, {});
  });
});

describe('an image that cannot be started', () => {
  test('is tried twice', (t) => {
    const one = job(t, [{ ...NO_IMAGE, times: 1 }, ...NEW]);
    const phase = setUp(one);
    assert.equal(phase.exitCode, 0);
    assert.deepEqual(annotations(phase, 'error'), []);
    assert.match(phase.log, /manifest unknown; trying once more/);
  });

  test('is replaced by stock BuildKit, loudly', (t) => {
    const one = job(t, [{ ...NO_IMAGE, times: 2 }, ...NEW]);
    const phase = setUp(one, {
      url: 'https://cache.example/',
      token: 'top-secret',
      'driver-opts': 'network=host',
      append: '- driver-opts: [image=my-registry/gha:1, env.A=1]',
    });
    assert.equal(phase.exitCode, 0, phase.log);
    const [annotation, ...others] = annotations(phase, 'error');
    assert.ok(annotation?.includes(`${IMAGE} could not be started: ${REASON}`), annotation);
    assert.ok(annotation?.includes('builds with stock BuildKit'), annotation);
    assert.deepEqual(others, []);
    const lines = one.docker.lines();
    const removed = lines.indexOf('buildx rm b');
    const stock = lines.slice(removed).filter((line) => line.includes('create'));
    assert.equal(stock.length, 2);
    assert.ok(stock.join().includes('--driver-opt network=host'));
    assert.ok(stock.join().includes('--driver-opt env.A=1'));
    assert.ok(!/image=|BUILDKIT_GHA/.test(stock.join()), stock.join('\n'));
    assert.equal(phase.outputs['name'], 'b');
  });

  test('fails the step where that is asked for', (t) => {
    const one = job(t, [NO_IMAGE, ...NEW]);
    const phase = setUp(one, { 'fail-on-fallback': 'true' });
    assert.equal(phase.exitCode, 1);
    assert.match(annotations(phase, 'error').join(), /manifest unknown.*`fail-on-fallback` is set/);
    assert.equal(one.docker.lines().at(-1), 'buildx rm b');
  });

  test('fails the step where stock BuildKit cannot be started either', (t) => {
    const stock = { ...NO_IMAGE, stderr: 'ERROR: no space left on device\n' };
    const phase = setUp(job(t, [{ ...NO_IMAGE, times: 2 }, stock, ...NEW]));
    assert.equal(phase.exitCode, 1);
    const [error, ...others] = annotations(phase, 'error');
    assert.match(
      error ?? '',
      /manifest unknown. Stock BuildKit could not .*: ERROR: no space left/,
    );
    assert.deepEqual(others, []);
  });
});

describe('a step fails', () => {
  test('where its inputs are wrong, before anything is made', (t) => {
    const one = job(t, NEW);
    const phase = setUp(one, { driver: 'docker', use: 'maybe' });
    assert.equal(phase.exitCode, 1);
    assert.equal(annotations(phase, 'error').length, 2);
    assert.deepEqual(one.docker.calls(), []);
  });

  test('where buildx is missing', (t) => {
    const missing = { has: 'buildx version', exit: 1, stderr: "docker: 'buildx' is no command\n" };
    const phase = setUp(job(t, [missing]));
    assert.equal(phase.exitCode, 1);
    assert.match(annotations(phase, 'error').join(), /buildx is needed.*'buildx' is no command/);
  });

  test('where buildx refuses an option: stock BuildKit would not help', (t) => {
    const refused = { has: 'create', exit: 1, stderr: 'ERROR: invalid driver option x\n' };
    const one = job(t, [refused, ...NEW]);
    const phase = setUp(one);
    assert.equal(phase.exitCode, 1);
    assert.match(annotations(phase, 'error').join(), /invalid driver option x/);
    assert.equal(one.docker.lines().filter((line) => line.includes('create')).length, 1);
  });
});
