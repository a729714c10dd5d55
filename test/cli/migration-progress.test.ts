import { PassThrough } from 'node:stream';
import t from 'tap';
import { ProgressBar, ProgressLines, queueLine } from '../../scripts/cli/migration-progress.js';
import type { MigrationEvent, QueueEntry } from '../../shared/api.js';
import { completedMigration, migrationEvents } from '../support/api-samples.js';

const waiting: QueueEntry = {
  migration: 'a-20261122-0001',
  vm: 'web-1',
  from: 'a',
  to: 'b',
  requestedAt: '2026-11-22T22:00:00.000Z',
  priority: 0,
  position: 2,
  state: 'waiting',
  waitsFor: [
    { node: 'a', holder: 'a-20261122-0000' },
    { node: 'b', holder: null },
  ],
  overtaken: 0,
  overtakeLimit: 8,
};

function linesOf(events: readonly MigrationEvent[]): string[] {
  const lines: string[] = [];
  const progress = new ProgressLines((line) => lines.push(line));
  for (const event of events) progress.show(event);
  progress.stop();
  return lines;
}

await t.test('a migration in plain lines', (t) => {
  t.same(linesOf(completedMigration()), [
    'preparing',
    'copying',
    'round 0: 16384 pages (39.1 MiB) in 40.0 ms, 1.02 GB/s; 800 KiB left, 28.6 MiB fit the downtime limit',
    'switching-over',
    'round 1: 200 pages (800 KiB) in 2.0 ms, 410.0 MB/s',
    'committing',
  ]);
  t.end();
});

await t.test('progress within a round is limited to one line in two seconds', (t) => {
  const start = Date.parse('2026-11-22T22:00:00.000Z');
  const events = Array.from({ length: 100 }, (_, n): MigrationEvent => ({
    seq: n,
    at: new Date(start + n * 100).toISOString(),
    migration: 'a-20261122-0001',
    event: 'progress',
    round: 0,
    pagesDone: n * 10,
    pagesTotal: 1000,
    bytesPerSecond: 1e9,
  }));
  const phase = migrationEvents({ event: 'phase', phase: 'copying' });
  t.same(linesOf([...phase, ...events]), [
    'copying',
    'round 0: 800 KiB of 3.9 MiB (20 %), 1.00 GB/s',
    'round 0: 1.6 MiB of 3.9 MiB (40 %), 1.00 GB/s',
    'round 0: 2.3 MiB of 3.9 MiB (60 %), 1.00 GB/s',
    'round 0: 3.1 MiB of 3.9 MiB (80 %), 1.00 GB/s',
  ]);
  t.end();
});

await t.test('the place in the queue is said when it changes', (t) => {
  t.same(
    linesOf(
      migrationEvents(
        { event: 'queue', queue: waiting },
        { event: 'queue', queue: { ...waiting, overtaken: 1 } },
        { event: 'queue', queue: { ...waiting, position: 1, waitsFor: [] } },
        { event: 'queue', queue: { ...waiting, position: 0, state: 'running', waitsFor: [] } },
      ),
    ),
    [
      'queued: place 2, waits for a (held by a-20261122-0000) and b',
      'queued: place 1',
      'holds the lock of both nodes',
    ],
  );
  t.equal(queueLine(waiting), 'queued: place 2, waits for a (held by a-20261122-0000) and b');
  t.end();
});

await t.test('a bar on a terminal', (t) => {
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 100, rows: 24 });
  const bar = new ProgressBar(stream);
  for (const event of completedMigration()) bar.show(event);
  bar.stop();
  bar.stop();
  const text = (stream.read() as Buffer).toString('utf8');
  t.match(text, /round 0 \[█{15}░{15}\] 50 % of 64\.0 MiB {2}1\.00 GB\/s/);
  t.match(text, /preparing\n.*copying\n/s, 'what ended stays as lines');
  t.ok(
    text.indexOf('\u001b[2K') < text.indexOf('round 0: 16384 pages') && text.includes('\u001b[2K'),
    'the bar is taken away before the line of its round',
  );
  t.end();
});
