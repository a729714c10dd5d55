import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { readBenchResults } from '../../../scripts/simulate/bench-results.js';
import { check, checkText } from '../../../scripts/simulate/check-table.js';
import { predict } from '../../../scripts/simulate/predict.js';

/** What `vmferry bench` wrote, as it was: see the command and the host in each. */
function measured(name: string): string {
  const folder = new URL('../../../../test/scripts/simulate/measured/', import.meta.url);
  return fileURLToPath(new URL(`${name}.json`, folder));
}

const TOLERANCE = { share: 0.15, downtimeMs: 15 };

async function checked(name: string) {
  return check(predict(await readBenchResults(measured(name))), TOLERANCE);
}

void t.test('one migration on a machine that did nothing else: all figures within 15 %', async (t) => {
  const all = await checked('idle-machine-1gbit');
  t.equal(all.length, 3 * 4);
  t.same(
    all.filter(({ within }) => !within),
    [],
  );
});

// Two processors for thirteen processes that wanted one: what takes processors took longer, and what takes the link did not.
void t.test('one migration on a busy machine: time and bytes within 15 %', async (t) => {
  const all = await checked('busy-machine-200mbit');
  const kept = all.filter(({ figure }) => figure === 'total' || figure === 'sent');
  t.equal(kept.length, 5 * 2);
  t.same(
    kept.filter(({ within }) => !within),
    [],
  );
  const stalled = all.filter(({ series }) => series.includes('40.0 MB/s'));
  t.ok(
    stalled.every(({ within }) => within),
    'a guest that never converges: rounds and downtime too',
  );
});

void t.test('four at once on a busy machine, which do not converge', async (t) => {
  const all = (await checked('busy-machine-concurrent')).filter(
    ({ series }) => series.startsWith('4') && series.endsWith('at once'),
  );
  t.equal(all.length, 4);
  t.same(
    all.filter(({ within }) => !within),
    [],
  );
});

// The guests themselves keep both processors busy: the downtimes are longer than the model's.
void t.test(
  'four guests on a machine that did hardly anything else, in turn and at once: time and bytes within 15 %',
  async (t) => {
    const all = await checked('four-guests-200mbit');
    const kept = all.filter(({ figure }) => figure === 'total' || figure === 'sent');
    t.equal(kept.length, 2 * 2);
    t.same(
      kept.filter(({ within }) => !within),
      [],
    );
  },
);

const MOVE = {
  totalMs: 1000,
  downtimeMs: 20,
  populatedBytes: 100e6,
  wireBytes: 100e6,
  roundCount: 2,
  convergence: 'below-threshold',
  workPerSecond: null,
};

function report(t: Test, workload: string, label: string, linkBytesPerSecond: number | null) {
  const guest = { mover: 'vmferry', guest: 'qemu 512 MiB', memoryBytes: 2 ** 29, workload: label };
  const document = {
    bench: 'migrate',
    startedAt: '2031-03-14T09:26:53.589Z',
    options: { memory: '512MiB', populated: '256MiB', workload, maxDowntime: '30ms', maxTime: '30s' },
    series: [{ ...guest, linkBytesPerSecond, runs: [MOVE] }],
  };
  return `${t.testdir({ 'results.json': JSON.stringify(document, null, 2) })}/results.json`;
}

void t.test('what the model can say nothing to is left out, with the reason', async (t) => {
  for (const [workload, label, link, reason] of [
    ['idle', 'idle', null, /its link had no cap/],
    ['xor', 'random xor', 125e6, /how fast its guest wrote/],
    ['idle+zero-rich', 'idle, zero-rich', 125e6, /no pages that are zero/],
    ['idle', 'random xor', 125e6, /none of those asked for \(idle\)/],
  ] as const) {
    const { comparisons, leftOut } = predict(await readBenchResults(report(t, workload, label, link)));
    t.same(comparisons, []);
    t.match(leftOut[0]?.reason, reason);
  }
});

void t.test('a prediction that is off is told', async (t) => {
  const predictions = predict(await readBenchResults(report(t, 'idle', 'idle', 125e6)));
  const text = checkText(check(predictions, { share: 0.01, downtimeMs: 0 }), predictions);
  t.match(
    text,
    /idle, 1 Gbit\/s +total +975\.0 ms|idle, 1 Gbit\/s +total +\d+ ms +1\.00 s +-\d\.\d % +too far off/,
  );
  t.match(text, /sent +95\.4 MiB +95\.4 MiB +0\.0 %\n/);
});

void t.test('results that are none', async (t) => {
  const file = report(t, 'idle', 'idle', -1);
  await t.rejects(readBenchResults(file), {
    code: 'invalid-request',
    message: new RegExp(`^${file}:\\d+: series\\.0\\.linkBytesPerSecond: found -1; must be `),
  });
  await t.rejects(readBenchResults('/nowhere/results.json'), { message: /--check \/nowhere.*can't be read/ });
});
