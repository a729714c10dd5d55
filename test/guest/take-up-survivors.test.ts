import { readdir } from 'node:fs/promises';
import t from 'tap';
import type { JournalEntry } from '../../agent/journal/ownership-journal.js';
import { definitionOf } from '../support/array-guest.js';
import { openOn } from '../support/node-guests.js';

const entry = (migration: string, decision: JournalEntry['decision'], vm = 'web'): JournalEntry => ({
  migration,
  decision,
  vm,
  peer: 'b',
  at: '2026-01-01T00:00:00.000Z',
});

void t.test("the node's own guest is taken up and is as its operator wanted it", async (t) => {
  const { store, vms, guest, directory } = await openOn(t, null);
  t.strictSame(guest.calls, ['settle']);
  t.equal(store.get('web').status, guest.state);
  t.equal(vms.memoryUsedBytes, guest.definition.memory, 'its memory counts');
  t.strictSame(await readdir(directory), ['web.json'], 'a definition that was lost is written again');
  const leave = new AbortController();
  const follower = store.console('web', 0, true, leave.signal);
  const waiting = follower.next();
  t.strictSame(await store.close(), [], 'the end of the agent does not end it');
  leave.abort();
  t.strictSame(await waiting, { done: true, value: null }, 'and who follows its console is not told so');
  t.equal(guest.detached, 1);
  t.notOk(guest.destroyed);
});

void t.test('a guest whose commit was sent stays as it is until the outcome is known', async (t) => {
  const { store, outgoing, guest } = await openOn(t, null, [entry('m-00000001', 'commit-sent')]);
  t.strictSame(guest.calls, [], 'it may be running elsewhere');
  outgoing.markUnknown('web', 'm-00000001');
  await t.rejects(store.resume('web'), { code: 'wrong-state' });
  await outgoing.end('web', null);
  await outgoing.settle('web');
  t.strictSame(guest.calls, ['settle'], 'it was not');
});

void t.test('the commit of another VM holds nothing up', async (t) => {
  const { guest } = await openOn(t, null, [entry('m-00000001', 'commit-sent', 'other')]);
  t.strictSame(guest.calls, ['settle']);
});

void t.test('a guest that had come here is the own one, if the journal says so', async (t) => {
  const { store, guest, directory } = await openOn(t, 'm-00000001', [entry('m-00000001', 'committed')]);
  t.equal(guest.owned, 1, 'what it is does not depend on the journal any more');
  t.strictSame(guest.calls, ['settle']);
  t.equal(store.get('web').migration, null);
  t.strictSame(await readdir(directory), ['web.json']);
});

for (const [what, entries] of [
  ['nothing is on record', []],
  ['it is on record as aborted', [entry('m-00000001', 'aborted')]],
  ['another one is committed', [entry('m-00000002', 'committed')]],
] as const) {
  void t.test(`a guest that was coming here is destroyed where ${what}`, async (t) => {
    const { store, guest } = await openOn(t, 'm-00000001', [...entries]);
    t.strictSame(guest.calls, ['destroy']);
    t.throws(() => store.get('web'), { code: 'not-found' });
  });
}

void t.test('one that can not be taken up does not keep the agent from starting', async (t) => {
  const { store, vms, guest, log } = await openOn(t, null, [], () =>
    Promise.reject(new Error('its socket is gone')),
  );
  t.match(store.get('web'), { status: 'stray', failure: /its socket is gone/ });
  t.equal(vms.memoryUsedBytes, guest.definition.memory);
  await t.rejects(store.undefine('web'), { code: 'wrong-state' });
  await t.rejects(store.start('web'), { code: 'wrong-state', message: /vm stop web/ }, 'no second copy');
  t.notOk(guest.destroyed);
  await store.stop('web');
  t.ok(guest.destroyed);
  await store.start('web');
  t.match(
    log.filter(({ level }) => level === 50),
    [{ err: { message: 'its socket is gone' } }],
  );
});

void t.test('a guest that is taken up and does not run as it should says so', async (t) => {
  const { store, guest, log } = await openOn(t, null, [], undefined, (guest) => guest.failing.add('settle'));
  t.match(store.get('web'), { status: guest.state, failure: /has left it paused: settle was told to fail/ });
  t.ok(log.some(({ level }) => level === 50));
  await store.resume('web');
  t.equal(store.get('web').failure, null);
});

void t.test('what left no more than a name can be told by the definition that the node has', async (t) => {
  const { known } = await openOn(t, null, [], undefined, undefined, [definitionOf('web')]);
  t.strictSame(known, [definitionOf('web'), undefined]);
});
