import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Rule } from './support/docker.ts';
import { Job } from './support/job.ts';

const BUILDER = 'Name: b\nDriver: docker-container\n\nNodes:\nName: b0\n\nName: b1\n';
const STATS = { builds: [{ steps: { total: 3, cached: 3, time_saved_seconds: 4 } }] };

function job(t: TestContext, rules: Rule[]): Job {
  const job = new Job();
  t.after(() => job.remove());
  job.docker.answer(rules);
  return job;
}

test('the nodes of the builder in use are asked', (t) => {
  const there = { has: 'inspect', stdout: BUILDER };
  const one = job(t, [there, { has: 'stats -o json', stdout: JSON.stringify(STATS) }]);
  const phase = one.report();
  assert.equal(phase.exitCode, 0);
  assert.deepEqual(one.docker.lines().sort(), [
    'buildx inspect',
    'exec buildx_buildkit_b0 buildkit-gha stats -o json',
    'exec buildx_buildkit_b1 buildkit-gha stats -o json',
  ]);
  assert.equal(phase.outputs['cache-hit'], 'true');
  assert.equal(phase.outputs['time-saved'], '8');
});

test('another builder may be named', (t) => {
  const one = job(t, [{ has: 'inspect other', stdout: 'Name: other\nDriver: docker-container\n' }]);
  assert.equal(one.report({ name: 'other' }).outputs['cache-hit'], '');
});

test('what cannot be asked is a warning, and no failure', (t) => {
  const there = { has: 'inspect', stdout: BUILDER };
  const cases: Rule[][] = [
    [{ has: 'inspect', exit: 1, stderr: 'no builder\n' }],
    [{ has: 'inspect', stdout: BUILDER.replace('docker-container', 'kubernetes') }],
    [there, { has: 'stats', exit: 1, stderr: 'no socket\n' }],
    [there, { has: 'stats', stdout: 'what?' }],
  ];
  for (const rules of cases) {
    const phase = job(t, rules).report();
    assert.equal(phase.exitCode, 0);
    assert.match(phase.log, /^::warning .*There is no report, and its outputs are empty: ./m);
    assert.deepEqual(phase.outputs, {});
  }
});
