import { once } from 'node:events';
import { appendFileSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { QemuConsole } from '../../../agent/guest/qemu/qemu-console.js';
import { VirtualTimers } from '../../support/link-virtual-timers.js';

function filesOf(t: Test): { consoleLog: string; consoleSocket: string } {
  // Not t.testdir(): a socket's path must be short.
  const directory = mkdtempSync(join(tmpdir(), 'console-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return { consoleLog: join(directory, 'console.log'), consoleSocket: join(directory, 'console.sock') };
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

void test('reads what the guest prints, by position', (t) => {
  const files = filesOf(t);
  const console = new QemuConsole('web', files, 0);
  t.teardown(() => console.close());
  t.same([console.start, console.end, text(console.read(0))], [0, 0, '']);
  appendFileSync(files.consoleLog, 'hello');
  t.same([console.start, console.end, text(console.read(0))], [0, 5, 'hello']);
  t.equal(text(console.read(3)), 'lo');
  t.equal(text(console.read(5)), '');
  const again = new QemuConsole('web', files, 100);
  t.same([again.start, again.end, text(again.read(101))], [100, 105, 'ello'], 'after another agent');
  again.close();
  t.same([again.end, text(again.read(101))], [105, ''], 'closed');
  again.close();
  t.end();
});

void test('a long transcript is read in parts, and its end moves', (t) => {
  const files = filesOf(t);
  const source = new QemuConsole('web', files, 7);
  t.teardown(() => source.close());
  const printed = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index % 251));
  appendFileSync(files.consoleLog, printed);
  const parts: Uint8Array[] = [];
  for (let next = source.start; next < source.end;) {
    const part = source.read(next);
    parts.push(part);
    next += part.length;
  }
  t.ok(Buffer.concat(parts).equals(printed));
  t.ok(Buffer.from(source.tail()).equals(printed.subarray(-65_536)));
  t.end();
});

void test('a log that grows long keeps its end alone, and positions stay', async (t) => {
  const files = filesOf(t);
  const timers = new VirtualTimers();
  const console = new QemuConsole('web', files, 7, timers);
  t.teardown(() => console.close());
  const mebibyte = (letter: string) => Buffer.alloc(2 ** 20, letter);
  for (const letter of 'abcdefghijklmnop') appendFileSync(files.consoleLog, mebibyte(letter));
  await timers.advance(5_000);
  t.equal(console.start, 7, 'up to 16 MiB nothing is lost');
  appendFileSync(files.consoleLog, 'the end');
  await timers.advance(5_000);
  t.equal(console.start, 7 + 12 * 2 ** 20);
  t.equal(console.end, 7 + 16 * 2 ** 20 + 7);
  t.equal(text(console.read(console.start).subarray(0, 4)), 'mmmm');
  t.equal(text(console.tail().subarray(-9)), 'ppthe end');
  t.ok(statSync(files.consoleLog).blocks * 512 <= 5 * 2 ** 20, 'the disk has the rest again');
  const next = new QemuConsole('web', files, 7, timers);
  t.same([next.start, next.end], [console.start, console.end], 'after another agent');
  next.close();
  console.close();
  t.equal(timers.pending, 0);
});

void test('the transcript goes on where that of the source ended', async (t) => {
  const source = new QemuConsole('web', filesOf(t), 0);
  t.teardown(() => source.close());
  await t.test('on the target', (t) => {
    const files = filesOf(t);
    const target = new QemuConsole('web', files, 0);
    t.teardown(() => target.close());
    target.load(1000, Buffer.from('tail'));
    t.same([target.start, target.end, text(target.read(996))], [996, 1000, 'tail']);
    appendFileSync(files.consoleLog, ' and more');
    t.same([target.end, text(target.read(1000))], [1009, ' and more']);
    t.end();
  });
});

void test('whoever listens is told of output, and no more once he does not', async (t) => {
  const files = filesOf(t);
  const console = new QemuConsole('web', files, 0);
  t.teardown(() => console.close());
  const output = () => new Promise<void>((resolve) => stops.push(console.onOutput(resolve)));
  const stops: (() => void)[] = [];
  for (const line of ['one', 'two']) {
    const heard = output();
    appendFileSync(files.consoleLog, line);
    await heard;
  }
  t.equal(text(console.read(0)), 'onetwo');
  for (const stop of stops) stop();
  const loaded = output();
  console.load(10, Buffer.from('x'));
  await loaded;
  t.equal(console.end, 16);
});

async function serialPort(t: Test, path: string): Promise<() => Promise<Socket>> {
  const server = createServer({ pauseOnConnect: true });
  await once(server.listen(path), 'listening');
  t.teardown(() => server.close());
  const accept = async () => {
    const [socket] = (await once(server, 'connection')) as [Socket];
    socket.on('error', () => socket.destroy());
    t.teardown(() => socket.destroy());
    return socket;
  };
  return accept;
}

void test('types into the socket of the port and takes what comes back', async (t) => {
  const files = filesOf(t);
  const accept = await serialPort(t, files.consoleSocket);
  const console = new QemuConsole('web', files, 0);
  const accepted = accept();
  const typed = Promise.all([console.input(Buffer.from('ls')), console.input(Buffer.from('\n'))]);
  const socket = await accepted;
  await typed;
  const received = once(socket, 'data') as Promise<[Buffer]>;
  socket.resume();
  t.equal((await received)[0].toString(), 'ls\n');
  // More than socket buffers take: it is read, or this would never drain.
  if (!socket.write(Buffer.alloc(4 * 2 ** 20))) await once(socket, 'drain');
  console.close();
  await t.rejects(console.input(Buffer.from('x')), { message: /takes no input: it is gone/ });
});

void test('input that the guest does not read is refused when too much of it waits', async (t) => {
  const files = filesOf(t);
  const accept = await serialPort(t, files.consoleSocket);
  const console = new QemuConsole('web', files, 0);
  t.teardown(() => console.close());
  const accepted = accept();
  const typing = (async () => {
    for (;;) await console.input(Buffer.alloc(32 * 1024));
  })();
  await t.rejects(typing, {
    code: 'limit-exceeded',
    message: /VM web does not read what is typed: \d+ bytes wait/,
  });
  await accepted;
});

void test('a port that is not there', async (t) => {
  const console = new QemuConsole('web', filesOf(t), 0);
  t.teardown(() => console.close());
  for (const attempt of ['first', 'second']) {
    await t.rejects(
      console.input(Buffer.from('x')),
      { code: 'guest-failed', message: /takes no input/ },
      attempt,
    );
  }
});
