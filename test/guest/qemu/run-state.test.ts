import { test } from 'tap';
import { guestStateOf, stateAfter } from '../../../agent/guest/qemu/run-state.js';

void test("QEMU's run states", (t) => {
  for (const state of ['running', 'suspended']) t.equal(guestStateOf(state), 'running', state);
  for (const state of ['shutdown', 'guest-panicked', 'internal-error'])
    t.equal(guestStateOf(state), 'finished', state);
  for (const state of [
    'paused',
    'prelaunch',
    'inmigrate',
    'postmigrate',
    'finish-migrate',
    'io-error',
    'new one',
  ]) {
    t.equal(guestStateOf(state), 'paused', state);
  }
  t.end();
});

void test('what events tell', (t) => {
  const cases = [
    { name: 'RESUME', before: 'paused', after: 'running' },
    { name: 'STOP', before: 'running', after: 'paused' },
    { name: 'SHUTDOWN', before: 'running', after: 'finished' },
    { name: 'STOP', before: 'finished', after: 'finished' },
    { name: 'WAKEUP', before: 'running', after: 'running' },
    { name: 'GUEST_PANICKED', before: 'running', after: 'finished', data: { action: 'pause' } },
    { name: 'GUEST_PANICKED', before: 'running', after: null, data: { action: 'run' } },
    { name: 'RESET', before: 'running', after: null },
    { name: 'MIGRATION', before: 'running', after: null, data: { status: 'active' } },
  ] as const;
  for (const { name, before, after, ...rest } of cases) {
    t.equal(stateAfter({ name, data: {}, at: 0, ...rest }, before), after, `${name} of a ${before} guest`);
  }
  t.end();
});
