import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { z } from 'zod';
import { QmpConnection } from '../../../../agent/guest/qemu/qmp/qmp-connection.js';
import type { QmpConnectionError } from '../../../../agent/guest/qemu/qmp/qmp-errors.js';
import type { QmpEvent } from '../../../../agent/guest/qemu/qmp/qmp-message.js';
import { queryQmp } from '../../../../agent/guest/qemu/qmp/qmp-query.js';
import { VirtualTimers } from '../../../support/link-virtual-timers.js';
import {
  event,
  GREETING,
  refusal,
  reply,
  ScriptedQmpServer,
  type Script,
} from '../../../support/scripted-qmp-server.js';

const silent: Script = () => [];
const answers: Script = (command) => [reply(command, { echo: command.execute })];

/** A scripted monitor and a connection to it, both ended with the test. */
async function connected(t: Test, script: Script, timers?: VirtualTimers) {
  const server = await ScriptedQmpServer.start(script);
  t.teardown(() => server.stop());
  const connection = await QmpConnection.connect(server.path, timers ? { timers } : {});
  t.teardown(() => connection.close());
  return { server, connection };
}

function ended(connection: QmpConnection): Promise<QmpConnectionError> {
  return new Promise((resolve) => connection.onClose(resolve));
}

void t.test('negotiates and tells the version', async (t) => {
  const { connection } = await connected(t, answers);
  t.same(connection.version, { major: 7, minor: 2, micro: 22, package: 'Debian 1:7.2' });
  t.equal(connection.closed, null);
});

void t.test('commands under way are told apart by their ids', async (t) => {
  const { server, connection } = await connected(t, silent);
  const first = connection.execute('query-status');
  const second = connection.execute('query-name', { a: 1 });
  const third = connection.execute('stop');
  while (server.commands.length < 3) await server.flush();
  const [one, two, three] = server.commands;
  t.match(two, { execute: 'query-name', arguments: { a: 1 } });
  if (!one || !two || !three) throw new Error('three commands were sent');
  server.say(refusal(three, 'GenericError', 'not now'), reply(two, 2), reply(one, 1));
  t.same(await Promise.all([first, second]), [1, 2]);
  await t.rejects(third, {
    name: 'QmpError',
    code: 'guest-failed',
    class: 'GenericError',
    desc: 'not now',
    command: 'stop',
    message: 'QEMU refused stop: not now (GenericError)',
  });
});

void t.test('what is said arrives in order, whether in one piece or byte by byte', async (t) => {
  for (const size of [1, 7, 100_000]) {
    const { server, connection } = await connected(t, silent);
    const heard: unknown[] = [];
    connection.onEvent(({ name }) => heard.push(name));
    const stopped = connection
      .nextEvent(({ name }) => name === 'STOP')
      .then(({ name }) => heard.push(`awaited ${name}`));
    const command = connection.execute('stop').then((value) => heard.push(value));
    while (server.commands.length < 1) await server.flush();
    const [sent] = server.commands;
    if (!sent) throw new Error('a command was sent');
    const text = [
      event('MIGRATION', { status: 'größe' }),
      event('STOP'),
      reply(sent, 'done'),
      event('RESUME'),
      '',
    ];
    const bytes = Buffer.from(text.join('\r\n'));
    const resumed = connection.nextEvent(({ name }) => name === 'RESUME');
    for (let at = 0; at < bytes.length; at += size) {
      server.sendBytes(bytes.subarray(at, at + size));
      await server.flush();
    }
    await Promise.all([stopped, command, resumed]);
    t.same(
      heard.filter((entry) => entry !== 'RESUME'),
      ['MIGRATION', 'STOP', 'awaited STOP', 'done'],
      `pieces of ${size}`,
    );
  }
});

void t.test('events have their time and their data; a listener can be removed', async (t) => {
  const { server, connection } = await connected(t, silent);
  const heard: QmpEvent[] = [];
  const listener = (event: QmpEvent) => void heard.push(event);
  const remove = connection.onEvent(listener);
  connection.onEvent(listener);
  const first = connection.nextEvent(() => true);
  server.say(event('STOP', { why: 'asked' }, 1_700_000_000, 250_500));
  t.same(await first, { name: 'STOP', data: { why: 'asked' }, at: 1_700_000_000_250.5 });
  remove();
  remove();
  const before = Date.now();
  const second = connection.nextEvent(({ name }) => name === 'RESUME');
  server.say(event('RESUME', {}, -1, -1));
  t.ok((await second).at >= before);
  t.same(
    heard.map(({ name }) => name),
    ['STOP', 'STOP', 'RESUME'],
  );
});

void t.test('a reply or an event that does not come', async (t) => {
  const timers = new VirtualTimers();
  const { server, connection } = await connected(t, silent, timers);
  const command = connection.execute('query-status', {}, { timeoutMs: 500 });
  const usual = connection.execute('stop');
  const awaited = connection.nextEvent(() => true, { timeoutMs: 700 });
  await timers.advance(500);
  await t.rejects(command, {
    name: 'QmpTimeoutError',
    code: 'timeout',
    message: /no reply to query-status within 500 ms/,
  });
  await timers.advance(200);
  await t.rejects(awaited, { name: 'QmpTimeoutError', message: /no event/ });
  await timers.advance(29_300);
  await t.rejects(usual, { name: 'QmpTimeoutError' });
  t.equal(timers.pending, 0);

  // It comes after all: harmless.
  while (server.commands.length < 2) await server.flush();
  server.say(...server.commands.map((late) => reply(late)));
  const next = connection.nextEvent(() => true);
  server.say(event('STOP'));
  t.match(await next, { name: 'STOP' });
  t.equal(connection.closed, null);
});

void t.test('whoever waits can stop waiting', async (t) => {
  const { server, connection } = await connected(t, silent);
  const abort = new AbortController();
  const reason = new Error('cancelled');
  const command = connection.execute('stop', {}, { signal: abort.signal });
  const awaited = connection.nextEvent(() => true, { signal: abort.signal });
  abort.abort(reason);
  await t.rejects(command, reason);
  await t.rejects(awaited, reason);
  await t.rejects(connection.execute('cont', {}, { signal: abort.signal }), reason);
  await t.rejects(
    connection.nextEvent(() => true, { signal: abort.signal }),
    reason,
  );
  const last = connection.execute('query-name');
  while (server.commands.length < 2) await server.flush();
  t.same(
    server.commands.map(({ execute }) => execute),
    ['stop', 'query-name'],
    'what was given up before is not sent',
  );
  const [, named] = server.commands;
  if (named) server.say(reply(named, { name: 'a' }));
  t.same(await last, { name: 'a' });
});

void t.test('a monitor that dies', async (t) => {
  const { server, connection } = await connected(t, (_command, server) => {
    server.die();
    return [];
  });
  const end = ended(connection);
  const awaited = connection.nextEvent(() => true);
  await t.rejects(connection.execute('quit'), { name: 'QmpConnectionError', end: 'lost' });
  await t.rejects(awaited, { code: 'guest-failed', end: 'lost' });
  t.match(await end, { end: 'lost', message: new RegExp(server.path) });
  t.match(await ended(connection), { end: 'lost' }, 'also told to whoever asks later');
  t.match(connection.closed, { end: 'lost' });
  await t.rejects(connection.execute('cont'), { code: 'guest-failed', end: 'lost' });
  await t.rejects(
    connection.nextEvent(() => true),
    { code: 'guest-failed', end: 'lost' },
  );
});

void t.test('the last words are heard before the end', async (t) => {
  const { connection } = await connected(t, (command, server) => {
    server.say(reply(command), event('SHUTDOWN', { reason: 'host-qmp-quit' }));
    setImmediate(() => server.die());
    return [];
  });
  const heard: string[] = [];
  connection.onEvent(({ name }) => heard.push(name));
  connection.onClose(({ end }) => heard.push(end));
  const end = ended(connection);
  t.same(await connection.execute('quit'), {});
  await end;
  t.same(heard, ['SHUTDOWN', 'lost']);
});

void t.test('closed by this side', async (t) => {
  const { connection } = await connected(t, silent);
  const unwanted = connection.onClose(() => t.fail('it was removed'));
  unwanted();
  const end = ended(connection);
  const command = connection.execute('stop');
  connection.close();
  connection.close();
  t.match(await end, { end: 'closed' });
  await t.rejects(command, { code: 'guest-failed', end: 'closed' });
  connection.onClose(() => t.fail('it was removed'))();
  await ended(connection);
});

void t.test('what is not QMP ends the connection', async (t) => {
  const garbage: [RegExp, string][] = [
    [/is no JSON/, '\u0000\u0001\u0002'],
    [/neither greeting, reply, error nor event/, '{}'],
    [/a reply is not valid/, '{"return": {}}'],
    [/it answered command 99, which waits for no answer/, '{"return": {}, "id": 99}'],
    [/an error is not valid/, '{"error": {"class": "GenericError", "desc": "JSON parse error"}}'],
    [/it greeted twice/, GREETING],
  ];
  for (const [message, line] of garbage) {
    const { connection } = await connected(t, () => [line, event('STOP')]);
    connection.onEvent(() => t.fail('nothing is heard after it'));
    const end = ended(connection);
    await t.rejects(
      connection.execute('query-status'),
      { code: 'guest-failed', end: 'protocol', message },
      line,
    );
    t.match(await end, { end: 'protocol' });
  }
});

void t.test('one command is answered once', async (t) => {
  const { connection } = await connected(t, (command) => [reply(command, 1), reply(command, 2)]);
  const end = ended(connection);
  t.equal(await connection.execute('query-status'), 1);
  t.match(await end, { end: 'protocol', message: /which waits for no answer/ });
});

void t.test('a line without end', async (t) => {
  const { server, connection } = await connected(t, silent);
  const end = ended(connection);
  server.sendBytes(Buffer.alloc(9 * 2 ** 20, '{'));
  t.match(await end, { end: 'protocol', message: /a line has more than 8388608 bytes/ });
});

void t.test('a listener that throws ends the connection, not the process', async (t) => {
  const { server, connection } = await connected(t, silent);
  connection.onEvent(() => {
    throw new Error('a defect');
  });
  const end = ended(connection);
  server.say(event('STOP'));
  t.match(await end, { end: 'protocol', message: /a defect/ });
});

void t.test('a rejection that is awaited late is no unhandled one', async (t) => {
  const { server, connection } = await connected(t, silent);
  const command = connection.execute('migrate');
  const awaited = connection.nextEvent(() => true);
  const end = ended(connection);
  server.die();
  await end;
  await new Promise((resolve) => setImmediate(resolve));
  await t.rejects(command, { code: 'guest-failed', end: 'lost' });
  await t.rejects(awaited, { code: 'guest-failed', end: 'lost' });
});

void t.test('nobody listens', async (t) => {
  const path = join(tmpdir(), `vmferry-absent-${process.pid}`);
  await t.rejects(QmpConnection.connect(path), {
    code: 'guest-failed',
    end: 'absent',
    cause: { code: 'ENOENT' },
  });
  const server = await ScriptedQmpServer.start(silent);
  await server.stop();
  rmSync(path, { force: true });
});

void t.test('a monitor that does not greet, or not as it should', async (t) => {
  const timers = new VirtualTimers();
  const mute = await ScriptedQmpServer.start(silent, null);
  t.teardown(() => mute.stop());
  const refused = t.rejects(QmpConnection.connect(mute.path, { timers, timeoutMs: 300 }), {
    end: 'silent',
    message: /not ready within 300 ms: another client is connected/,
  });
  await timers.advance(300);
  await refused;
  t.equal(timers.pending, 0);

  const others: [RegExp, string][] = [
    [/it spoke before it greeted/, '{"return": {}, "id": 1}'],
    [/it spoke before it greeted/, event('STOP')],
    [/is no JSON/, 'SSH-2.0-OpenSSH_9.2'],
    [/the greeting is not valid/, '{"QMP": {"version": {}}}'],
  ];
  for (const [message, greeting] of others) {
    const server = await ScriptedQmpServer.start(silent, greeting);
    t.teardown(() => server.stop());
    await t.rejects(QmpConnection.connect(server.path, { timers }), {
      code: 'guest-failed',
      end: 'protocol',
      message,
    });
  }
  t.equal(timers.pending, 0, 'no timer is left');
});

void t.test('an answer of another shape', async (t) => {
  const { connection } = await connected(t, answers);
  t.same(await queryQmp(connection, z.object({ echo: z.string() }), 'query-status'), {
    echo: 'query-status',
  });
  await t.rejects(queryQmp(connection, z.object({ status: z.string() }), 'query-status'), {
    code: 'guest-failed',
    message: /QEMU's answer to query-status is not valid: status: /,
  });
});
