import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { type WaitingRequest, WaitingRequests } from '../../agent/source/waiting-requests.js';
import { MigrationOptionsSchema } from '../../shared/api.js';
import { recordSyncedDirectories } from '../support/synced-directories.js';

const request = (id: string, requestedAt: number): WaitingRequest => ({
  ...{ id, requestedAt },
  vm: `vm-${id}`,
  to: 'b',
  options: MigrationOptionsSchema.parse({ verify: 'strict' }),
  priority: -1,
});

await t.test('what waits is there in the next run, in the order in which it was asked for', async (t) => {
  const directory = t.testdir();
  const logger = pino({ level: 'silent' });
  const waiting = new WaitingRequests(directory, logger);
  t.same(await waiting.load(), []);
  const synced = recordSyncedDirectories(t);
  const [first, second] = [request('m-99999999', 1), request('m-00000000', 2)];
  await waiting.add(second);
  await waiting.add(first);
  t.strictSame(synced.at(-1), { path: directory, entries: ['m-00000000.json', 'm-99999999.json'] });
  await writeFile(join(directory, 'm-55555555.json.unfinished'), '{"id"');
  const next = new WaitingRequests(directory, logger);
  t.same(await next.load(), [first, second]);
  t.strictSame(
    (await readdir(directory)).sort(),
    ['m-00000000.json', 'm-99999999.json'],
    'nothing half-written',
  );
  await next.remove(first.id);
  await next.remove(first.id);
  t.same(await new WaitingRequests(directory, logger).load(), [second]);
});

await t.test('a file that is not one is told by name, stays, and keeps nobody out', async (t) => {
  const lines: string[] = [];
  const directory = t.testdir({ 'm-garbled0.json': '{"id":', 'm-foreign0.json': '{"id":"m-foreign0"}' });
  const waiting = new WaitingRequests(
    directory,
    pino({}, { write: (line: string) => void lines.push(line) }),
  );
  await waiting.add(request('m-11111111', 1));
  t.same(await waiting.load(), [request('m-11111111', 1)]);
  t.equal(lines.length, 2);
  t.ok(lines.some((line) => /m-garbled0\.json is no JSON; ask for it again, and remove the file/.test(line)));
  t.ok(lines.some((line) => /m-foreign0\.json is not valid: vm: /.test(line)));
  t.same((await readdir(directory)).length, 3);
});

await t.test('a disk that can not be written to is named', async (t) => {
  const directory = t.testdir({ file: '' });
  const waiting = new WaitingRequests(join(directory, 'file'), pino({ level: 'silent' }));
  const failed = {
    code: 'internal',
    message: /file\/m-11111111\.json can't be written: .*: free or mend that disk/,
  };
  await t.rejects(waiting.add(request('m-11111111', 1)), failed);
  await writeFile(join(directory, 'file'), 'untouched');
});
