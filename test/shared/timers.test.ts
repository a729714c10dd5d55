import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t from 'tap';
import { delay, systemTimers } from '../../shared/timers.js';

/** Timers that go off by hand. */
function manualTimers() {
  const set: (() => void)[] = [];
  const cancelled: (() => void)[] = [];
  return {
    set,
    cancelled,
    after: (_ms: number, callback: () => void) => {
      set.push(callback);
      return () => void cancelled.push(callback);
    },
  };
}

void t.test('a delay ends when its time has come', async () => {
  const timers = manualTimers();
  const ended = delay(timers, 5);
  timers.set[0]!();
  await ended;
});

void t.test('or at once when it is withdrawn, and leaves no timer behind', async (t) => {
  const timers = manualTimers();
  const controller = new AbortController();
  const ended = delay(timers, 5, controller.signal);
  controller.abort();
  await ended;
  t.strictSame(timers.cancelled, timers.set);
  await delay(timers, 5, controller.signal);
  t.strictSame(timers.cancelled, timers.set, 'one that was withdrawn before it began');
});

void t.test('timers of the process', async (t) => {
  const before = systemTimers.now();
  const cancel = systemTimers.after(1, () => t.fail('it was cancelled'));
  cancel();
  await new Promise<void>((resolve) => systemTimers.after(2, resolve));
  t.ok(systemTimers.now() >= before);
});

void t.test('a timer that is late goes off after what came meanwhile was read', async (t) => {
  const server = createServer();
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  t.teardown(() => socket.destroy());
  const [[peer]] = await Promise.all([
    once(server, 'connection') as Promise<[Socket]>,
    once(socket, 'connect'),
  ]);
  let read = '';
  socket.on('data', (data) => (read += data.toString()));
  const found = await new Promise<string>((resolve) => {
    // Past the event loop's turn to read: timers are next.
    setImmediate(() => {
      systemTimers.after(1, () => resolve(read));
      peer.write('early');
      hold(20);
    });
  });
  t.equal(found, 'early');
});

void t.test('nor does one go off that was cancelled meanwhile', async (t) => {
  const cancel = systemTimers.after(1, () => t.fail('it was cancelled'));
  await new Promise<void>((resolve) => {
    // Due after the first, in the same turn of the event loop.
    setTimeout(() => resolve(cancel()), 1);
    hold(5);
  });
  await new Promise((resolve) => setImmediate(resolve));
});

function hold(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
