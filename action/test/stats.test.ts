import assert from 'node:assert/strict';
import { test } from 'node:test';
import { report } from '../src/stats.ts';

test('builds of all nodes are summed up', () => {
  const one = {
    steps: { total: 4, cached: 4, time_saved_seconds: 1.26 },
    imports: [{ layers_confirmed: 3, bytes_fetched: 10 }, { layers_confirmed: 1 }],
    exports: [{ bytes_sent: 5 }],
  };
  const other = { steps: { total: 2, cached: 2 }, exports: [{ bytes_sent: 7 }, {}] };
  assert.deepEqual(report([{ builds: [one] }, { builds: [other] }]), {
    'cache-hit': 'true',
    'layers-reused': '4',
    'bytes-uploaded': '12',
    'bytes-downloaded': '10',
    'time-saved': '1.3',
  });
});

test('a hit is said as actions/cache says it', () => {
  const hit = (...steps: { total: number; cached: number }[]) =>
    report([{ builds: steps.map((steps) => ({ steps })) }])['cache-hit'];
  assert.equal(hit({ total: 4, cached: 4 }, { total: 4, cached: 3 }), 'false');
  assert.equal(hit({ total: 4, cached: 0 }), '');
});

test('without a build everything is empty', () => {
  for (const nodes of [[], [{}], [{ builds: [] }]]) {
    assert.deepEqual([...new Set(Object.values(report(nodes)))], ['']);
  }
});
