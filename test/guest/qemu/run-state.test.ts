import { type Test, test } from 'tap';
import type { GuestState } from '../../../agent/guest/guest.js';
import { QmpConnection } from '../../../agent/guest/qemu/qmp/qmp-connection.js';
import { guestStateOf, RunState, stateAfter } from '../../../agent/guest/qemu/run-state.js';
import { event, reply, ScriptedQmpServer, type Script } from '../../support/scripted-qmp-server.js';

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

/** What follows a QEMU that says what the script says. */
async function followed(t: Test, state: GuestState, script: Script): Promise<RunState> {
  const server = await ScriptedQmpServer.start(script);
  const qmp = await QmpConnection.connect(server.path);
  t.teardown(async () => {
    qmp.close();
    await server.stop();
  });
  return new RunState({ qmp, execute: (command) => qmp.execute(command) }, state);
}

void test('what was not told is asked for', async (t) => {
  const cases = [
    { before: 'running', status: 'paused', after: 'paused', changes: 1 },
    { before: 'paused', status: 'running', after: 'running', changes: 1 },
    { before: 'paused', status: 'inmigrate', after: 'paused', changes: 0 },
    { before: 'finished', status: 'postmigrate', after: 'finished', changes: 0 },
    { before: 'finished', status: 'running', after: 'running', changes: 1 },
  ] as const;
  for (const { before, status, after, changes } of cases) {
    const run = await followed(t, before, (command) => [reply(command, { status })]);
    let heard = 0;
    run.onChange = () => (heard += 1);
    await run.refresh();
    t.same([run.state, heard], [after, changes], `${status} of a ${before} guest`);
  }
});

void test('an event that comes with the answer is not undone by it', async (t) => {
  const statuses = ['paused', 'running'];
  const run = await followed(t, 'paused', (command) => {
    const status = statuses.shift();
    return [reply(command, { status }), ...(status === 'paused' ? [event('RESUME')] : [])];
  });
  await run.refresh();
  t.equal(run.state, 'running');
});
