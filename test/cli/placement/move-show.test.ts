import { PassThrough } from 'node:stream';
import t from 'tap';
import { MoveBar, MoveLines } from '../../../scripts/cli/placement/move-show.js';
import { planned } from '../../../scripts/cli/placement/run-moves.js';
import type { MigrationEvent } from '../../../shared/api.js';
import { MigrationError } from '../../../shared/errors.js';
import { migrationResult } from '../../support/api-samples.js';
import { candidate } from './placement-samples.js';

const move = (vm: string) => planned({ ...candidate(vm, 'a', 1), to: 'b', reason: 'why not', warnings: [] });
const at = { seq: 1, at: '2026-11-22T22:00:00.000Z', migration: 'm-1' };
const preparing: MigrationEvent = { ...at, event: 'phase', phase: 'preparing' };
const progress: MigrationEvent = {
  ...{ ...at, event: 'progress', round: 1 },
  ...{ pagesDone: 45, pagesTotal: 100, bytesPerSecond: 2e6 },
};

await t.test('a line when a move is asked for, begins and ends', (t) => {
  const lines: string[] = [];
  const show = new MoveLines(2, (line) => lines.push(line));
  const [web, db] = [move('web'), move('db')];
  web.migration = 'm-1';
  show.asked(web);
  for (const event of [preparing, progress]) show.event(web, event);
  show.ended(web, migrationResult({ vm: 'web' }));
  db.error = new MigrationError('node-drained', 'node b is drained').toJSON();
  show.ended(db, null);
  web.failedTargets.push({ node: 'b', migration: 'm-1', error: db.error });
  web.to = 'c';
  show.redirected(web);
  web.error = new MigrationError('cancelled', 'it was cancelled').toJSON();
  show.ended(web, migrationResult({ vm: 'web', outcome: 'cancelled', error: web.error }));
  show.stop();
  t.match(lines, [
    'web: asked for, from a to b (migration m-1)',
    'web: moving from a to b',
    /^\[1 of 2\] web moved from a to b in 813 ms/,
    '[2 of 2] db could not be sent to b: node b is drained',
    'web: did not get to b, goes to the next best, c: node b is drained',
    /was cancelled: web is on a as before$/,
  ]);
  t.end();
});

await t.test('on a terminal the lines stand above a bar, which is gone at the end', (t) => {
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 100 });
  const printed = () => String(stream.read() ?? '');
  const show = new MoveBar(2, stream);
  const [web, db] = [move('web'), move('db')];
  show.asked(web);
  t.match(printed(), /^web: asked for.*\n[^]*0 of 2 VMs/);
  show.event(web, preparing);
  show.event(web, progress);
  t.match(printed(), /web: moving from a to b\n[^]*0 of 2 VMs {2}web: round 1, 45 %, 2\.0 MB\/s/);
  db.failedTargets.push({
    node: 'c',
    migration: 'm-2',
    error: new MigrationError('link-lost', 'gone').toJSON(),
  });
  show.redirected(db);
  t.match(printed(), /db: did not get to c[^\n]*: gone\n[^]*0 of 2 VMs {2}web: round 1/);
  show.ended(web, migrationResult({ vm: 'web' }));
  t.match(printed(), /\[1 of 2\] web moved [^\n]*\n[^]*1 of 2 VMs {2}/);
  show.ended(db, migrationResult({ vm: 'db' }));
  t.match(printed(), /\[2 of 2\] db moved [^\n]*\n$/);
  show.stop();
  t.equal(printed(), '');
  t.end();
});
