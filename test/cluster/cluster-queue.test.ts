import t from 'tap';
import { clusterQueue, type NodeView } from '../../agent/cluster/cluster-queue.js';
import type { MigrationInfo, QueueEntry } from '../../shared/api.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { copyingReport, guestInfo, migrationInfo, nodeInfo, roundsOf } from '../support/api-samples.js';

/** When the migration that waits for one that runs may begin, s from now; null: not known. */

const NOW = Date.parse('2026-11-22T22:00:00.000Z');
const entry = (vm: string, state: QueueEntry['state']): QueueEntry => ({
  ...{ migration: `m-${vm}`, vm, from: 'a', to: 'b', requestedAt: '2026-11-22T21:00:00.000Z', priority: 0 },
  ...{ position: state === 'running' ? 0 : 1, state, waitsFor: [], overtaken: 0, overtakeLimit: 8 },
});

function startAfter(running: Partial<MigrationInfo>): number | null | undefined {
  const view: NodeView = {
    node: 'a',
    status: {
      node: nodeInfo,
      guests: [guestInfo({ name: 'next' })],
      migrations: [migrationInfo({ id: 'm-now', from: 'a', to: 'b', ...running })],
    },
    queue: [entry('now', 'running'), entry('next', 'waiting')],
  };
  const at = clusterQueue([view], NOW).find(({ vm }) => vm === 'next')?.expectedStart;
  return typeof at === 'string' ? (Date.parse(at) - NOW) / 1000 : at;
}

void t.test('not before the rounds of the one that runs are over, as far as they tell', (t) => {
  const progress = { round: 0, pagesDone: 0, pagesTotal: 10_000, bytesPerSecond: 1000 * PAGE_SIZE };
  t.equal(startAfter({ phase: 'copying', progress, copying: copyingReport([]) }), 10, 'the first round');
  // half of what a round copies is left: 4000, 2000, 1000 fits; at 1000 pages a second
  const copying = copyingReport(roundsOf(16_000, 8000, 4000), { thresholdBytes: 1000 * PAGE_SIZE });
  t.equal(startAfter({ phase: 'copying', progress: null, copying }), 6, 'this round, and the one after it');
  const stalled = copyingReport(roundsOf(8000, 8000, 8000, 8000, 8000, 8000), {
    thresholdBytes: 1000 * PAGE_SIZE,
  });
  t.equal(startAfter({ phase: 'copying', progress: null, copying: stalled }), null, 'nobody knows');
  t.equal(startAfter({ phase: 'completing' }), null, 'a comparison may take any time');
  const nonsense = { phase: 'copying', copying: { rounds: 3 } } as unknown as Partial<MigrationInfo>;
  t.equal(startAfter(nonsense), null, "another node's word");
  t.end();
});
