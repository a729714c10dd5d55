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
