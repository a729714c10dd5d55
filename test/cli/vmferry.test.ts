import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { constants } from 'node:os';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { EXIT, type MigrationInfo } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { FakeAgentService } from '../support/api-fake-service.js';
import {
  completedMigration,
  consoleChunk,
  MIGRATION_ID,
  migrationInfo,
  migrationResult,
} from '../support/api-samples.js';
import { listeningServer } from '../support/api-server.js';

/** The command as a process of its own: what only that shows. */

const SCRIPT = fileURLToPath(new URL('../../scripts/vmferry.js', import.meta.url));

function spawned(args: string[], agentUrl: string) {
  return spawn(process.execPath, [SCRIPT, ...args], {
    env: { ...process.env, VMFERRY_AGENT: agentUrl },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

function start(args: string[], agentUrl: string) {
  const child = spawned(args, agentUrl);
  const ended = Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)]).then(
    ([[code], stdout, stderr]) => ({ code: code as number | null, stdout, stderr }),
  );
  return { child, ended };
}

/** The exit code of one whose standard output nobody reads, and what it says otherwise. */
async function unread(child: ReturnType<typeof spawned>) {
  const [ended, stderr] = await Promise.all([once(child, 'close'), text(child.stderr)]);
  return { code: ended[0] as number | null, stderr };
}

await t.test('finds its agent by the environment, and ends with the exit code', async (t) => {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service);
  t.teardown(() => app.close());
  service.eventLog.push(...completedMigration()).end(null);
  const { code, stdout, stderr } = await start(['migrate', 'web-1', '--to', 'b', '--json'], url).ended;
  t.equal(code, EXIT.done);
  t.equal(stderr, '');
  t.same(JSON.parse(stdout), migrationResult());
  const refused = await start(['migrate', 'nope', '--to', 'b'], url).ended;
  t.equal(refused.code, EXIT.refused);
});

await t.test('every command teaches itself', async (t) => {
  const nowhere = 'http://127.0.0.1:1';
  const [top, migrate, define, console] = await Promise.all([
    start(['--help'], nowhere).ended,
    start(['migrate', '--help'], nowhere).ended,
    start(['vm', 'define', '--help'], nowhere).ended,
    start(['vm', 'console', '--help'], nowhere).ended,
  ]);
  t.match(top, { code: 0, stdout: /Exit codes: 0 done; 1 failed: a VM/ });
  t.match(migrate, { code: 0, stdout: /Examples:\n.*vmferry migrate web-1 --to b/s });
  t.match(define, { code: 0, stdout: /Examples:\n.*elf: mine\.elf/s });
  t.match(console, { code: 0, stdout: /Examples:\n.*--no-follow/s });
});

await t.test('piped input goes to the console, and the end of the console ends the process', async (t) => {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service);
  t.teardown(() => app.close());
  service.onInput = (data) =>
    service.consoleLog
      .push(consoleChunk(0, `echo: ${Buffer.from(data).toString()}`))
      .end({ reason: 'finished', to: null });
  const { child, ended } = start(['vm', 'console', 'web-1'], url);
  // the pipe stays open: nothing but the end of the console ends the command
  child.stdin.write('hello\n');
  const { code, stdout, stderr } = await ended;
  t.equal(code, EXIT.done);
  t.equal(stdout, 'echo: hello\n');
  t.equal(stderr, 'vmferry: web-1 has finished\n');
});

await t.test('SIGINT asks the agent to cancel', async (t) => {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service);
  t.teardown(() => app.close());
  const error = new MigrationError('cancelled', 'cancelled on request').toJSON();
  const result = migrationResult({ outcome: 'cancelled', error });
  service.onCancel = () =>
    service.eventLog.push({ seq: 0, at: '', migration: MIGRATION_ID, event: 'ended', result }).end(null);
  const { child, ended } = start(['migrate', 'web-1', '--to', 'b', '--json'], url);
  await service.eventLog.until((log) => log.readers === 1);
  child.kill('SIGINT');
  const { code, stdout } = await ended;
  t.equal(code, EXIT.cancelled);
  t.same(JSON.parse(stdout), result);
});

await t.test('a reader that goes away ends it quietly, as SIGPIPE does', async (t) => {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service);
  t.teardown(() => app.close());
  const child = spawned(['vm', 'console', 'web-1', '--no-input'], url);
  await service.consoleLog.until((log) => log.readers === 1);
  child.stdout.destroy();
  service.consoleLog.push(consoleChunk(0, 'nobody reads this\n'));
  t.same(await unread(child), { code: 128 + constants.signals.SIGPIPE, stderr: '' });
});

await t.test('its exit code is its own, whether or not somebody reads what it says', async (t) => {
  const child = spawned(['show', 'nosuch', '--json'], 'http://127.0.0.1:1');
  child.stdout.destroy();
  t.equal((await unread(child)).code, EXIT.usage);
});

await t.test('what fills a pipe that is read slowly arrives whole', async (t) => {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service);
  t.teardown(() => app.close());
  const rounds = Array.from({ length: 5000 }, (_, round) => ({ ...migrationResult().rounds[0]!, round }));
  service.current = migrationInfo({ phase: 'ended', result: migrationResult({ rounds }) });
  const child = spawned(['show', MIGRATION_ID, '--json'], url);
  // Nothing more than fills the pipe is taken before.
  await once(child.stdout, 'readable');
  const shown = JSON.parse(await text(child.stdout)) as MigrationInfo;
  t.equal(shown.result?.rounds.length, rounds.length);
});

await t.test('something else that answers there is said to be no agent', async (t) => {
  const server = createServer((_request, response) => response.end('<html>hello</html>')).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const { code, stderr } = await start(['status'], `http://127.0.0.1:${port}`).ended;
  t.equal(code, EXIT.failed);
  t.match(stderr, /what answers there \(HTTP 200\) is no vmferry agent\. Check the address/);
});

await t.test('limit asks the agent for another bandwidth, and refuses what is none', async (t) => {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service);
  t.teardown(() => app.close());
  const limit = (...args: string[]) => start(['limit', MIGRATION_ID, ...args], url).ended;
  const [slower, none, json] = await Promise.all([
    limit('--bandwidth', '200mbit'),
    limit('--bandwidth', '0'),
    limit('--bandwidth', '1MB', '--json'),
  ]);
  t.match(slower, {
    code: EXIT.done,
    stderr: '',
    stdout: `migration ${MIGRATION_ID} is limited to 25.0 MB/s\n`,
  });
  t.match(none, { code: EXIT.done, stdout: /has no limit/ });
  t.match(JSON.parse(json.stdout), { id: MIGRATION_ID });
  t.same(
    service.calls.filter(([name]) => name === 'limitMigration').sort((a, b) => Number(a[2]) - Number(b[2])),
    [0, 1e6, 25e6].map((rate) => ['limitMigration', MIGRATION_ID, rate]),
  );
  const wrong = [['--bandwidth', 'fast'], ['--bandwidth', '-5mbit'], ['--bandwidth'], []];
  for (const { code, stdout, stderr } of await Promise.all(wrong.map((args) => limit(...args)))) {
    t.equal(code, EXIT.usage);
    t.equal(stdout, '');
    t.match(stderr, /bandwidth/);
  }
  t.equal(
    service.calls.filter(([name]) => name === 'limitMigration').length,
    3,
    'none of them was asked for',
  );
});
