import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import type { Rule } from './support/docker.ts';
import { Job, type Phase } from './support/job.ts';

const BUILDER = `Name:   b
Driver: docker-container

Nodes:
Name:     b0
Endpoint: arm
Status:   running
`;

const THERE: Rule = { has: 'inspect b', stdout: BUILDER };
const SUMMARY: Rule = { has: 'stats --format markdown', stdout: '## Cache\n\n| a | b |\n' };

/** The post phase after a main phase that has made a builder; calls are those of the post phase. */
function finish(
  t: TestContext,
  rules: Rule[],
  inputs: Record<string, string> = {},
  env: Record<string, string> = {},
): { phase: Phase; lines: string[] } {
  const job = new Job({ GITHUB_ACTION_REPOSITORY: 'owner/name', ...env });
  t.after(() => job.remove());
  job.docker.answer([THERE]);
  const main = job.action({ name: 'b', ...inputs });
  assert.equal(main.exitCode, 0, main.log);
  const before = job.docker.calls().length;
  job.docker.answer(rules);
  const phase = job.action({ name: 'b', ...inputs });
  return { phase, lines: job.docker.lines().slice(before) };
}

describe('the end of a job', () => {
  test('waits for uploads, writes the summary, removes the builder', (t) => {
    const { phase, lines } = finish(t, [THERE, SUMMARY], { 'drain-timeout': '2m' });
    assert.equal(phase.exitCode, 0);
    assert.deepEqual(lines, [
      'buildx inspect b',
      '--context arm exec buildx_buildkit_b0 buildkit-gha drain --timeout 2m',
      '--context arm exec buildx_buildkit_b0 buildkit-gha stats --format markdown',
      'buildx rm b',
    ]);
    assert.equal(phase.summary, '## Cache\n\n| a | b |\n\n');
  });

  test('keeps what is to be kept', (t) => {
    const kept = finish(t, [THERE], { 'keep-state': 'true', summary: 'false' });
    assert.equal(kept.lines.at(-1), 'buildx rm --keep-state b');
    assert.ok(!kept.lines.join().includes('stats'));
    assert.equal(kept.phase.summary, '');
    const whole = finish(t, [THERE], { cleanup: 'false' });
    assert.ok(!whole.lines.join().includes('buildx rm'));
  });

  test('has a summary of each node', (t) => {
    const two = { ...THERE, stdout: `${BUILDER}\nName: b1\nEndpoint: arm\n` };
    const { phase } = finish(t, [two, SUMMARY]);
    const titles = phase.summary.split('\n').filter((line) => line.startsWith('#'));
    assert.deepEqual(titles, ['### b0', '## Cache', '### b1', '## Cache']);
  });

  test('shows the logs of nodes in a debug run, and takes no command from them', (t) => {
    const log: Rule = { has: 'logs', stdout: '::set-env::x\n', stderr: 'from stderr\n' };
    const { phase } = finish(t, [THERE, log], {}, { RUNNER_DEBUG: '1' });
    assert.match(phase.log, /::stop-commands::(\S+)\n::set-env::x\nfrom stderr\n::\1::\n/);
  });

  test('leaves a remote builder alone', (t) => {
    const remote = { ...THERE, stdout: BUILDER.replace('docker-container', 'remote') };
    const { phase, lines } = finish(t, [remote]);
    assert.deepEqual(lines, ['buildx inspect b', 'buildx rm b']);
    assert.match(phase.log, /of a remote builder cannot be reached/);
  });
});

describe('nothing at the end fails the job', () => {
  const broken: [string, Rule[], RegExp][] = [
    [
      'uploads that go on',
      [{ has: 'drain', exit: 1, stderr: '2 exports are pending\n' }],
      /b0: not all exports.*: 2 exports are pending/,
    ],
    ['no summary', [{ has: 'stats', exit: 1, stderr: 'no socket\n' }], /b0: no summary: no socket/],
    [
      'no removal',
      [{ has: 'buildx rm', exit: 1, stderr: 'in use\n' }],
      /not remove the builder: in use/,
    ],
  ];
  for (const [name, rules, warning] of broken) {
    test(name, (t) => {
      const { phase, lines } = finish(t, [...rules, THERE]);
      assert.equal(phase.exitCode, 0);
      assert.match(phase.log, /^::warning /m);
      assert.match(phase.log, warning);
      assert.equal(lines.at(-1), 'buildx rm b');
    });
  }

  test('no builder', (t) => {
    const { phase, lines } = finish(t, [{ has: 'inspect', exit: 1, stderr: 'no builder\n' }]);
    assert.equal(phase.exitCode, 0);
    assert.deepEqual(lines, ['buildx inspect b']);
  });

  test('a main phase that failed at once', (t) => {
    const job = new Job();
    t.after(() => job.remove());
    assert.equal(job.action({ driver: 'docker' }).exitCode, 1);
    assert.equal(job.action({ driver: 'docker' }).exitCode, 0);
    assert.deepEqual(job.docker.calls(), []);
  });
});

test('a fallback is in the summary, and its nodes are not asked', (t) => {
  const job = new Job({ GITHUB_ACTION_REPOSITORY: 'owner/name' });
  t.after(() => job.remove());
  const failed = { has: '--bootstrap', exit: 1, stderr: 'ERROR: denied\n', times: 2 };
  const absent = { has: 'inspect b', exit: 1, times: 1 };
  job.docker.answer([failed, absent, THERE]);
  assert.equal(job.action({ name: 'b' }).exitCode, 0);
  const phase = job.action({ name: 'b' });
  assert.match(phase.summary, /stock BuildKit[\s\S]*could not be started: ERROR: denied/);
  assert.ok(!job.docker.lines().join().includes('buildkit-gha drain'));
  assert.equal(job.docker.lines().at(-1), 'buildx rm b');
});
