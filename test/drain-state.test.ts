import { readdir } from 'node:fs/promises';
import { pino } from 'pino';
import t from 'tap';
import { DrainState } from '../agent/drain-state.js';
import { recordSyncedDirectories } from './support/synced-directories.js';

const logger = pino({ level: 'silent' });

void t.test('that a node is drained lasts when it is said', async (t) => {
  const directory = t.testdir();
  const synced = recordSyncedDirectories(t);
  const state = await DrainState.open('a', directory, logger);
  await state.set(true);
  t.strictSame(synced, [{ path: directory, entries: ['drained'] }]);
  t.throws(() => state.refuseArrivals(), { code: 'node-drained' });
  t.ok((await DrainState.open('a', directory, logger)).drained);
  await state.set(false);
  t.strictSame(synced.at(-1), { path: directory, entries: [] });
  state.refuseArrivals();
});

void t.test('of changes at once the last one counts, now and in the next run', async (t) => {
  const directory = t.testdir();
  const state = await DrainState.open('a', directory, logger);
  await Promise.all([true, false, true, false].map((drained) => state.set(drained)));
  t.notOk(state.drained);
  t.strictSame(await readdir(directory), []);
});
