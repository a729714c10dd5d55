import { appendFile, mkdir, readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { KEPT_RESULTS, MigrationHistory } from '../../agent/source/migration-history.js';
import type { MigrationResult } from '../../shared/api.js';
import { migrationResult } from '../support/api-samples.js';

const logger = pino({ level: 'silent' });
const AT = '2026-11-22T22:00:00.000Z';

const result = (id: string, changes: Partial<MigrationResult> = {}): MigrationResult => ({
  ...migrationResult(),
  id,
  ...changes,
});

await t.test('what has ended is there in the next run, in short and in full', async (t) => {
  const file = join(t.testdir(), 'history.jsonl');
  const history = await MigrationHistory.open(file, logger);
  t.same(history.list(), []);
  history.add(AT, result('m-00000001', { outcome: 'unknown' }));
  history.add(AT, result('m-00000002'));
  history.add(AT, result('m-00000001'));
  await history.close();
  const next = await MigrationHistory.open(file, logger);
  t.same(next.list(), history.list());
  t.match(
    next.list().map(({ id, outcome, rounds, requestedAt }) => ({ id, outcome, rounds, requestedAt })),
    [
      { id: 'm-00000001', outcome: 'completed', requestedAt: AT, rounds: migrationResult().rounds.length },
      { id: 'm-00000002', outcome: 'completed' },
    ],
    'an outcome that is known later takes the place of the unknown one',
  );
  t.same((await next.result('m-00000001'))?.result, result('m-00000001'));
  t.equal(await next.result('m-00000003'), null);
});

await t.test('a line that was cut off is left out, and what follows is not', async (t) => {
  const file = join(t.testdir(), 'history.jsonl');
  const history = await MigrationHistory.open(file, logger);
  history.add(AT, result('m-00000001'));
  await history.close();
  await appendFile(file, '[]\nnull\n{"requestedAt":"2026-11');
  const next = await MigrationHistory.open(file, logger);
  next.add(AT, result('m-00000002'));
  await next.close();
  const ids = (await MigrationHistory.open(file, logger)).list().map(({ id }) => id);
  t.same(ids, ['m-00000002', 'm-00000001']);
});

await t.test('it keeps so many, and the file does not grow beyond twice that', async (t) => {
  const file = join(t.testdir(), 'history.jsonl');
  const history = await MigrationHistory.open(file, logger);
  const round = migrationResult().rounds[0]!;
  const rounds = Array.from({ length: 1000 }, (_, index) => ({ ...round, round: index }));
  history.add(AT, result('m-long0000', { rounds }));
  const kept = (await history.result('m-long0000'))!.result.rounds;
  t.same(
    [kept[0]!.round, kept.at(-1)!.round, kept.length],
    [0, 999, 200],
    'of many rounds the first and the last',
  );
  const idOf = (index: number) => `m-${String(index).padStart(8, '0')}`;
  const many = 2 * KEPT_RESULTS + 10;
  for (let index = 0; index < many; index += 1) history.add(AT, result(idOf(index), { rounds: [] }));
  await history.close();
  t.equal(history.list().length, KEPT_RESULTS);
  t.equal(history.list()[0]!.id, idOf(many - 1));
  t.ok((await readFile(file, 'utf8')).split('\n').length <= 2 * KEPT_RESULTS + 1);
  t.same((await MigrationHistory.open(file, logger)).list(), history.list());
  t.equal(await history.result(idOf(0)), null);
});

await t.test('a disk that can not be written to is told, and loses nothing else', async (t) => {
  const lines: string[] = [];
  const directory = t.testdir();
  const file = join(directory, 'history.jsonl');
  const history = await MigrationHistory.open(
    file,
    pino({}, { write: (line: string) => void lines.push(line) }),
  );
  t.same(history.list(), []);
  await mkdir(file);
  history.add(AT, result('m-00000001'));
  await history.close();
  t.match(lines, [/history\.jsonl can't be written: free or mend that disk/]);
  await rmdir(file);
  history.add(AT, result('m-00000002'));
  await history.close();
  t.same((await MigrationHistory.open(file, logger)).list().length, 1);
});
