import { readdir } from 'node:fs/promises';
import t from 'tap';
import type { ConsoleChunk } from '../../shared/api.js';
import { definitionOf } from '../support/array-guest.js';
import { MIB, openNode, openOn, regionsOf } from '../support/node-guests.js';

void t.test('a guest is defined, started, paused, resumed, stopped and undefined', async (t) => {
  const { store, vms, guests, directory } = await openNode(t);
  await store.define(definitionOf('web'), undefined);
  t.equal(store.get('web').status, 'stopped');
  t.strictSame(await readdir(directory), ['web.json']);
  await t.rejects(store.define(definitionOf('web'), undefined), { code: 'name-taken' });
  await t.rejects(store.pause('web'), { code: 'wrong-state' });
  await store.start('web');
  t.equal(store.get('web').status, 'running');
  t.equal(vms.memoryUsedBytes, MIB);
  await t.rejects(store.start('web'), { code: 'wrong-state' });
  await t.rejects(store.undefine('web'), { code: 'wrong-state' });
  await store.pause('web');
  t.equal(store.get('web').status, 'paused');
  await store.resume('web');
  await store.input('web', Buffer.from('hi'));
  t.strictSame(guests.get('web')![0]!.typed, [Buffer.from('hi')]);
  await store.stop('web');
  t.ok(guests.get('web')![0]!.destroyed);
  t.equal(vms.memoryUsedBytes, 0);
  await store.stop('web');
  await store.undefine('web');
  t.throws(() => store.get('web'), { code: 'not-found' });
  t.strictSame(await readdir(directory), []);
});

void t.test('a guest that fails to boot leaves nothing behind', async (t) => {
  let fails = true;
  const { store, vms } = await openNode(t, 4 * MIB, (guest) => {
    if (fails) guest.failing.add('resume');
  });
  await store.define(definitionOf('web'), undefined);
  await t.rejects(store.start('web'), { code: 'guest-failed' });
  fails = false;
  t.equal(store.get('web').status, 'stopped');
  t.equal(vms.memoryUsedBytes, 0);
  await store.start('web');
});

void t.test('what is asked for at once is done in turn: never two guests of one VM', async (t) => {
  const { store, vms, outgoing, guests } = await openNode(t);
  await store.define(definitionOf('web'), undefined);
  const alive = () => guests.get('web')!.filter((guest) => !guest.destroyed);
  const results = await Promise.allSettled([
    store.start('web'),
    store.stop('web'),
    store.start('web'),
    store.start('web'),
    store.pause('web'),
  ]);
  t.strictSame(
    results.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
  );
  t.equal(alive().length, 1);
  t.equal(store.get('web').status, 'paused');
  t.equal(vms.memoryUsedBytes, MIB);

  const last = Promise.allSettled([store.stop('web'), store.undefine('web'), store.start('web')]);
  t.throws(() => outgoing.check('web'), { code: 'wrong-state', message: /just being/ });
  t.match(await last, [{ status: 'fulfilled' }, { status: 'fulfilled' }, { reason: { code: 'not-found' } }]);
  t.strictSame(alive(), []);
});

void t.test('a guest that boots while its node ends is ended as well', async (t) => {
  let booting: () => void;
  const boots = new Promise<void>((resolve) => (booting = resolve));
  const { store, guests } = await openNode(t, 4 * MIB, () => booting());
  await store.define(definitionOf('web'), undefined);
  await store.define(definitionOf('late'), undefined);
  const starting = store.start('web');
  await boots;
  const closing = store.close();
  await t.rejects(store.start('late'), { code: 'shutting-down' });
  await starting;
  t.strictSame(await closing, ['web']);
  t.strictSame(
    [...guests.values()].flat().filter((guest) => !guest.destroyed),
    [],
  );
});

void t.test('input is refused where the guest would not be the one that reads it', async (t) => {
  const { store, incoming } = await openNode(t);
  const definition = definitionOf('web');
  await (
    await incoming.create(definition, regionsOf(definition), 'm-00000001')
  ).machine;
  await t.rejects(store.input('web', Buffer.from('x')), { code: 'wrong-state' });
  incoming.adopt('web');
  await store.input('web', Buffer.from('x'));
});

void t.test('a machine of somebody else becomes a VM of the node, or goes back as it was', async (t) => {
  const { store, directory, adopted } = await openOn(t, null);
  await t.rejects(store.takeOver('web', '/run/web.qmp'), { code: 'name-taken' });
  for (const name of ['one', 'two', 'three']) await store.takeOver(name, `/run/${name}.qmp`);
  t.equal(store.get('three').memoryBytes, adopted().definition.memory);
  t.ok((await readdir(directory)).includes('three.json'));
  await t.rejects(store.takeOver('four', '/run/four.qmp'), { code: 'target-out-of-memory' });
  t.equal(adopted().disowned, 1);
  t.notOk(adopted().destroyed);
  t.throws(() => store.get('four'), { code: 'not-found' });
});

void t.test('a followed console has no gap and tells how it ended', async (t) => {
  const { store, outgoing, guests } = await openNode(t);
  await store.define(definitionOf('web'), undefined);
  t.equal(await all(store.console('web', 0, false, new AbortController().signal)), 'end null');
  await t.rejects(all(store.console('web', 0, true, new AbortController().signal)), { code: 'wrong-state' });
  await store.start('web');
  const guest = guests.get('web')![0]!;
  guest.print('one\n');
  t.equal(await all(store.console('web', 2, false, new AbortController().signal)), '2-4 e\n|end null');

  const follower = store.console('web', 0, true, new AbortController().signal);
  t.match(await follower.next(), { value: { position: 0, end: 4, text: 'one\n' } });
  const waiting = follower.next();
  const euro = Buffer.from('€');
  guest.print('two ');
  t.match(await waiting, { value: { position: 4, text: 'two ' } });
  t.equal(euro.length, 3);
  guest.print('€');
  t.match(await follower.next(), { value: { text: euro.toString('latin1'), end: 11 } });
  const end = follower.next();
  outgoing.begin('web', 'm-00000001');
  await outgoing.end('web', { node: 'b', url: 'http://b' });
  t.strictSame(await end, { done: true, value: { reason: 'moved', to: { node: 'b', url: 'http://b' } } });

  await store.define(definitionOf('two'), undefined);
  await store.start('two');
  const signal = new AbortController();
  const aborted = store.console('two', 0, true, signal.signal).next();
  const finished = store.console('two', 0, true, new AbortController().signal).next();
  signal.abort();
  t.strictSame(await aborted, { done: true, value: null });
  guests.get('two')![0]!.finish();
  t.strictSame(await finished, { done: true, value: { reason: 'finished', to: null } });
  await t.rejects(store.start('two'), {
    code: 'wrong-state',
    message: "VM two is finished: run 'vmferry vm stop two' first",
  });
});

async function all(console: AsyncGenerator<ConsoleChunk, unknown>): Promise<string> {
  const parts: string[] = [];
  for (;;) {
    const next = await console.next();
    if (next.done) return [...parts, `end ${JSON.stringify(next.value)}`].join('|');
    parts.push(`${next.value.position}-${next.value.end} ${next.value.text}`);
  }
}
