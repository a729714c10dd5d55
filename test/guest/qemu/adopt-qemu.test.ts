import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Test, test } from 'tap';
import { RunDirectory } from '../../../agent/guest/qemu/process/run-directory.js';
import { QmpConnection } from '../../../agent/guest/qemu/qmp/qmp-connection.js';
import { delay, systemTimers } from '../../../shared/timers.js';
import { move, printsMore, QemuPair } from './qemu-pair.js';

const NAME = `web-${process.pid}`;
const MEMORY = 16 * 2 ** 20;

/** A QEMU that was started by hand, and the socket on which it listens. */
async function foreignQemu(
  t: Test,
  pair: QemuPair,
  parameters: (ram: string) => string[],
): Promise<{ socket: string; ram: string; pid: number }> {
  const socket = join(pair.directory, 'foreign.sock');
  const ram = `/dev/shm/foreign-${process.pid}.ram`;
  writeFileSync(ram, '');
  truncateSync(ram, MEMORY);
  const child = spawn(
    'qemu-system-x86_64',
    [
      ...['-accel', 'tcg', '-display', 'none', '-qmp', `unix:${socket},server=on,wait=on`],
      ...parameters(ram),
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const exit = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await exit;
    rmSync(ram, { force: true });
  });
  while (!isListening(socket)) await delay(systemTimers, 5);
  return { socket, ram, pid: child.pid! };
}

/** A socket is there before it listens: the flag __SO_ACCEPTCON tells, see proc_net_unix(5). */
function isListening(socket: string): boolean {
  const lines = readFileSync('/proc/net/unix', 'utf8').split('\n');
  return lines.some((line) => line.endsWith(` ${socket}`) && line.split(' ')[3] === '00010000');
}

const backend = (ram: string, more = ',share=on') => [
  ...['-object', `memory-backend-file,id=ram0,size=16M,mem-path=${ram}${more}`],
  ...['-machine', 'q35,memory-backend=ram0', '-m', '16M'],
];

void test('a QEMU that somebody else has started becomes a guest, and moves', async (t) => {
  const pair = new QemuPair(t);
  const { arguments: program } = pair.definition();
  const { socket, ram, pid } = await foreignQemu(t, pair, (path) => [
    ...['-nodefaults', ...backend(path), '-name', 'mine', '-serial', 'null', ...program],
  ]);
  const guest = pair.keep((await pair.source.adopt?.(NAME, socket))!);
  t.equal(guest.pid, pid);
  t.equal(guest.state, 'running');
  t.match(guest.definition, {
    name: NAME,
    memory: MEMORY,
    machine: /^pc-q35-/,
    serial: true,
    arguments: program,
  });
  t.equal(guest.console.end, 0, 'its console is not ours');
  await t.rejects(guest.console.input(Buffer.from('x')), { code: 'wrong-state' });

  const target = await pair.incoming(guest);
  await move(guest, target);
  await target.resume();
  await printsMore(target);
  await guest.destroy();
  t.notOk(existsSync(ram), 'its RAM goes with it');
});

void test('one that was adopted is found by the next agent', async (t) => {
  const pair = new QemuPair(t);
  const { socket, pid } = await foreignQemu(t, pair, (path) => ['-nodefaults', ...backend(path)]);
  const guest = pair.keep((await pair.source.adopt?.(NAME, socket))!);
  await guest.detach();
  const [survivor] = (await pair.kind('source').survivors?.(() => undefined)) ?? [];
  t.equal(pair.keep(await survivor!.takeUp()).pid, pid);
});

void test('one that is a guest of this host already is refused by the name of that', async (t) => {
  const pair = new QemuPair(t);
  const { socket } = await foreignQemu(t, pair, (path) => ['-nodefaults', ...backend(path)]);
  const guest = pair.keep((await pair.source.adopt?.(NAME, socket))!);
  const refusal = { code: 'unsupported-guest', message: new RegExp(`is that of VM ${NAME} already`) };
  await guest.detach();
  await t.rejects(pair.source.adopt!(`${NAME}-again`, socket), refusal);
  await t.rejects(pair.source.adopt!(NAME, socket), refusal);
  t.notOk(existsSync(pair.runDirectory('source', `${NAME}-again`)));
  t.ok(existsSync(pair.runDirectory('source')), 'the guest that it is stays known');
});

void test('one that can not be migrated is refused, and nothing has changed', async (t) => {
  const cases: { what: string; parameters: (ram: string) => string[]; message: RegExp }[] = [
    {
      what: 'private RAM',
      parameters: () => ['-nodefaults', '-m', '16M'],
      message: /private to QEMU; start it/,
    },
    {
      what: 'RAM that is not shared',
      parameters: (ram) => ['-nodefaults', ...backend(ram, '')],
      message: /'ram0' is not shared; start it with/,
    },
    {
      what: 'RAM in a file without a name',
      parameters: () => ['-nodefaults', ...backend('/dev/shm')],
      message: /\/dev\/shm is not the file that it has its RAM in: name a file/,
    },
    { what: 'default devices', parameters: (ram) => backend(ram), message: /start it with -nodefaults/ },
    {
      what: 'waiting for a migration',
      parameters: (ram) => ['-nodefaults', ...backend(ram), '-incoming', 'defer'],
      message: /it waits for a migration/,
    },
  ];
  for (const { what, parameters, message } of cases) {
    await t.test(what, async (t) => {
      const pair = new QemuPair(t);
      const { socket } = await foreignQemu(t, pair, parameters);
      await t.rejects(pair.source.adopt!(NAME, socket), { code: 'unsupported-guest', message });
      t.notOk(existsSync(pair.runDirectory('source')));
      const qmp = await QmpConnection.connect(socket);
      t.match(await qmp.execute('query-status'), { status: String }, 'it can be talked to');
      qmp.close();
    });
  }
});

void test('one whose name is another node’s here is refused, and ends as it would have', async (t) => {
  const pair = new QemuPair(t);
  const { socket } = await foreignQemu(t, pair, (path) => ['-nodefaults', ...backend(path)]);
  const directory = new RunDirectory(dirname(pair.runDirectory('source')), NAME);
  await directory.create();
  directory.write({
    version: 1,
    definition: pair.definition(),
    node: 'other',
    process: null,
    wanted: 'running',
    incoming: null,
    ramFiles: [],
    qmpSocket: directory.qmpSocket,
    consoleBase: null,
    accel: 'tcg',
  });
  await t.rejects(pair.source.adopt!(NAME, socket), { code: 'guest-failed', message: /that of node other/ });
  t.ok(directory.recorded);
  await directory.remove();

  const qmp = await QmpConnection.connect(socket);
  await qmp.execute('set-action', { reboot: 'shutdown' });
  const stays = qmp.nextEvent(({ name }) => name === 'STOP').then(() => 'stays');
  stays.catch(() => undefined);
  const ends = new Promise((resolve) => qmp.onClose(() => resolve('ends')));
  await qmp.execute('system_reset');
  t.equal(await Promise.race([stays, ends]).catch(() => ends), 'ends');
});

void test('a socket that nobody answers', async (t) => {
  const pair = new QemuPair(t);
  await t.rejects(pair.source.adopt!(NAME, join(pair.directory, 'none.sock')), {
    code: 'unsupported-guest',
    message: /can't be taken up: no QEMU listens at .*none.sock/,
  });
  const { socket } = await foreignQemu(t, pair, (path) => ['-nodefaults', ...backend(path)]);
  const other = await QmpConnection.connect(socket);
  await t.rejects(pair.source.adopt!(NAME, socket), { message: /another client is connected to it/ });
  other.close();
});
