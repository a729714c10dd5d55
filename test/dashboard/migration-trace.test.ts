import t from 'tap';
import { isDrawable, type MigrationTrace, traceOf, withEvent } from '../../dashboard/migration-trace.js';
import type { MigrationEvent, MigrationInfo } from '../../shared/api.js';
import {
  completedMigration,
  copyingReport,
  migrationInfo,
  migrationResult,
  roundsOf,
} from '../support/api-samples.js';

const copying = copyingReport(roundsOf(100, 10));
const running: MigrationInfo = migrationInfo({ phase: 'copying', copying });

function after(events: readonly MigrationEvent[]): MigrationTrace {
  return events.reduce(withEvent, traceOf(migrationInfo({ phase: 'queued' })));
}

void t.test('events add up to what is known', (t) => {
  const events = completedMigration();
  t.match(after(events.slice(0, 3)), {
    phase: 'copying',
    progress: { round: 0, pagesDone: 8192 },
    rounds: [],
  });
  const copied = {
    progress: null,
    rounds: [{ round: 0 }],
    thresholdBytes: 30_000_000,
    switchoverRound: null,
  };
  t.match(after(events.slice(0, 4)), copied);
  t.match(after(events.slice(0, 5)), { phase: 'switching-over', switchoverRound: 1 });
  const atOnce = events.filter(({ event }) => event === 'phase').slice(0, 3);
  t.equal(after(atOnce).switchoverRound, 0, 'nothing was populated');
  t.end();
});

void t.test('the result has the last word', (t) => {
  const result = migrationResult({
    rounds: roundsOf(100, 10, 0),
    switchover: { stoppedAt: 1, resumedAt: 2 },
  });
  const known = { phase: 'ended', rounds: result.rounds, switchoverRound: 1, result };
  t.match(after(completedMigration(result)), known);
  t.match(traceOf(migrationInfo({ phase: 'ended', result })), known, 'also of one that nobody followed');
  t.equal(after(completedMigration({ ...result, switchover: null })).switchoverRound, null);
  t.end();
});

void t.test('what another node tells is drawn if it is all there', (t) => {
  t.match(traceOf(running), { rounds: copying.rounds, thresholdBytes: copying.thresholdBytes });
  t.ok(isDrawable(running));
  const progress = { round: 0, pagesDone: 1, pagesTotal: 2, bytesPerSecond: 3 };
  t.ok(isDrawable({ ...running, progress, copying: copyingReport([]) }));
  const broken: unknown[] = [
    ...[null, undefined, 'rounds', { ...copying, rounds: null }, { ...copying, rounds: [null] }],
    ...[
      { ...copying, rounds: [{ ...copying.rounds[0], ms: '1' }] },
      { ...copying, thresholdBytes: undefined },
    ],
    ...[
      { ...copying, limits: undefined },
      { ...copying, elapsedMs: {} },
    ],
  ];
  for (const each of broken)
    t.notOk(isDrawable({ ...running, copying: each as never }), JSON.stringify(each));
  t.notOk(isDrawable({ ...running, progress: { round: 1 } as never }));
  t.end();
});
