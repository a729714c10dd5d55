import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { DefinitionFiles } from '../../agent/guest/definition-files.js';
import { GuestStore } from '../../agent/guest/guest-store.js';
import type { JournalEntry } from '../../agent/journal/ownership-journal.js';
import type { ConsoleChunk } from '../../shared/api.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import { definitionOf } from '../support/array-guest.js';
import { arrayGuestKinds, type HostedArrayGuest } from '../support/hosted-array-guest.js';

const MIB = 2 ** 20;

async function openStore(
  t: Test,
  memoryLimitBytes = 4 * MIB,
  onMake?: (guest: HostedArrayGuest) => void,
  decisions: JournalEntry[] = [],
) {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-guests-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const fakes = arrayGuestKinds(onMake);
  const open = () =>
    GuestStore.open({
      node: 'a',
      kinds: fakes.kinds,
      files: new DefinitionFiles(directory),
      journal: { get: () => undefined, entries: () => decisions },
      memoryLimitBytes,
      logger: pino({ level: 'silent' }),
    });
  return { directory, open, store: await open(), guests: fakes.guests };
}

const regionsOf = ({ memory }: GuestDefinition) => [{ name: 'ram0', bytes: memory }];

void t.test('a guest is defined, started, paused, resumed, stopped and undefined', async (t) => {
  const { store, guests, directory } = await openStore(t);
  await store.define(definitionOf('web'), undefined);
  t.equal(store.get('web').status, 'stopped');
  t.strictSame(await readdir(directory), ['web.json']);
  await t.rejects(store.define(definitionOf('web'), undefined), { code: 'name-taken' });
  await t.rejects(store.pause('web'), { code: 'wrong-state' });
  await store.start('web');
  t.equal(store.get('web').status, 'running');
  t.equal(store.memoryUsedBytes, MIB);
  await t.rejects(store.start('web'), { code: 'wrong-state' });
  await t.rejects(store.undefine('web'), { code: 'wrong-state' });
  await store.pause('web');
  t.equal(store.get('web').status, 'paused');
  await store.resume('web');
  await store.input('web', Buffer.from('hi'));
  t.strictSame(guests.get('web')![0]!.typed, [Buffer.from('hi')]);
  await store.stop('web');
  t.ok(guests.get('web')![0]!.destroyed);
  t.equal(store.memoryUsedBytes, 0);
  await store.stop('web');
  await store.undefine('web');
  t.throws(() => store.get('web'), { code: 'not-found' });
  t.strictSame(await readdir(directory), []);
});

void t.test('definitions and images survive the agent', async (t) => {
  const { store, open, directory } = await openStore(t);
  await store.define(definitionOf('web'), Buffer.from('elf'));
  await store.close();
  const again = await open();
  t.equal(again.get('web').status, 'stopped');
  t.equal(again.outline('web').imageBytes, 3);
  await writeFile(join(directory, 'bad.json'), '{"name":');
  await t.rejects(open(), { code: 'invalid-definition', message: /bad\.json/ });
});

void t.test('an image that is just being written when its guest is given up does not stay', async (t) => {
  const { store, directory } = await openStore(t);
  for (const size of [1, MIB, 4 * MIB]) {
    const definition = definitionOf('web');
    await store.createIncoming(definition, regionsOf(definition), 'm-00000000');
    const written = store.stageImage('web', 'm-00000000', new Uint8Array(size));
    await Promise.allSettled([written, store.discardIncoming('web', 'm-00000000')]);
    t.strictSame(await readdir(join(directory, 'arriving')), []);
  }
});

void t.test('memory is counted: a guest that does not fit is refused with what is free', async (t) => {
  const { store } = await openStore(t, 2 * MIB);
  for (const name of ['one', 'two', 'three']) await store.define(definitionOf(name), undefined);
  await store.start('one');
  await store.start('two');
  await t.rejects(store.start('three'), {
    code: 'target-out-of-memory',
    message: /three needs 1\.0 MiB.*0 B left/,
  });
  t.equal(store.get('three').status, 'stopped');
  const big = definitionOf('four');
  t.strictSame(
    store.checkIncoming(big, regionsOf(big)).map(({ code }) => code),
    ['target-out-of-memory'],
  );
  await store.stop('one');
  await store.start('three');
});

void t.test('a guest that fails to boot leaves nothing behind', async (t) => {
  let fails = true;
  const { store } = await openStore(t, 4 * MIB, (guest) => {
    if (fails) guest.failing.add('resume');
  });
  await store.define(definitionOf('web'), undefined);
  await t.rejects(store.start('web'), { code: 'guest-failed' });
  fails = false;
  t.equal(store.get('web').status, 'stopped');
  t.equal(store.memoryUsedBytes, 0);
  await store.start('web');
});

void t.test('what is asked for at once is done in turn: never two guests of one VM', async (t) => {
  const { store, guests } = await openStore(t);
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
  t.equal(store.memoryUsedBytes, MIB);

  const last = Promise.allSettled([store.stop('web'), store.undefine('web'), store.start('web')]);
  t.throws(() => store.checkOutgoing('web'), { code: 'wrong-state', message: /just being/ });
  t.match(await last, [{ status: 'fulfilled' }, { status: 'fulfilled' }, { reason: { code: 'not-found' } }]);
  t.strictSame(alive(), []);
});

void t.test('a guest that boots while its node ends is ended as well', async (t) => {
  let booting: () => void;
  const boots = new Promise<void>((resolve) => (booting = resolve));
  const { store, guests } = await openStore(t, 4 * MIB, () => booting());
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

void t.test('a VM that has moved is forgotten, also where its files can not be removed', async (t) => {
  const { store, directory } = await openStore(t);
  await store.define(definitionOf('web'), undefined);
  await store.start('web');
  store.beginOutgoing('web', 'm-00000001');
  await rm(directory, { recursive: true });
  await writeFile(directory, 'in the way');
  const there = { node: 'b', url: 'http://b' };
  t.notOk(await store.endOutgoing('web', there));
  t.throws(() => store.get('web'), { code: 'not-found' });
  t.notOk(await store.endOutgoing('web', there), 'they are still there');
  await rm(directory);
  await mkdir(directory);
  t.ok(await store.endOutgoing('web', there));
  t.ok(await store.endOutgoing('web', null));
});

void t.test('no other guest gets the name of one whose outcome is open', async (t) => {
  const decisions: JournalEntry[] = [];
  const { store } = await openStore(t, 4 * MIB, undefined, decisions);
  const definition = definitionOf('web');
  const entry = { migration: 'm-00000001', vm: 'web', peer: 'b', at: new Date().toISOString() };
  decisions.push({ ...entry, decision: 'commit-sent' });
  // It would be ended by the answer, which is about the one before it.
  const refusal = { message: /m-00000001 took to node b: 'vmferry vm resolve web'/ };
  await t.rejects(store.define(definition, undefined), { code: 'name-taken', ...refusal });
  const incoming = store.createIncoming(definition, regionsOf(definition), 'm-00000002');
  await t.rejects(incoming, { code: 'target-has-guest', ...refusal });
  await store.define(definitionOf('other'), undefined);
  decisions[0] = { ...entry, decision: 'released' };
  await store.define(definition, undefined);
});

void t.test('input is refused where the guest would not be the one that reads it', async (t) => {
  const { store } = await openStore(t);
  const definition = definitionOf('web');
  await (
    await store.createIncoming(definition, regionsOf(definition), 'm-00000001')
  ).machine;
  await t.rejects(store.input('web', Buffer.from('x')), { code: 'wrong-state' });
  store.adopt('web');
  await store.input('web', Buffer.from('x'));
});

void t.test('a migration away holds the guest until it ends', async (t) => {
  const { store } = await openStore(t);
  await store.define(definitionOf('web'), undefined);
  t.throws(() => store.checkOutgoing('web'), { code: 'wrong-state' });
  await store.start('web');
  store.beginOutgoing('web', 'm-00000001');
  t.throws(() => store.beginOutgoing('web', 'm-00000002'), {
    code: 'duplicate-migration',
    message: /m-00000001/,
  });
  for (const operation of ['stop', 'pause', 'resume', 'undefine'] as const) {
    await t.rejects(store[operation]('web'), { code: 'wrong-state' }, operation);
  }
  store.markUnknown('web', 'm-00000001');
  t.equal(store.get('web').status, 'unknown');
  await t.rejects(store.stop('web'), { code: 'wrong-state', message: /outcome.*not known/ });
  await store.endOutgoing('web', null);
  t.equal(store.get('web').status, 'running');
  store.beginOutgoing('web', 'm-00000003');
  await store.endOutgoing('web', { node: 'b', url: 'http://b' });
  t.throws(() => store.get('web'), { code: 'not-found' });
});

void t.test('a migration to here is adopted or discarded', async (t) => {
  const { store, guests, directory } = await openStore(t);
  const definition = definitionOf('web');
  const { machine } = await store.createIncoming(definition, regionsOf(definition), 'm-00000001');
  const guest = await machine;
  t.equal(store.get('web').status, 'incoming');
  t.same(await readdir(directory), ['arriving'], 'none of its own before the commit');
  t.same(await readdir(join(directory, 'arriving', 'm-00000001')), ['web.json'], 'it lies ready');
  t.strictSame(
    store.checkIncoming(definition, regionsOf(definition)).map(({ code }) => code),
    ['target-has-guest'],
  );
  await store.discardIncoming('web', 'm-00000002');
  t.equal(store.get('web').status, 'incoming', 'another migration cannot discard it');
  await store.discardIncoming('web', 'm-00000001');
  t.throws(() => store.get('web'), { code: 'not-found' });
  t.ok(guests.get('web')![0]!.destroyed);
  t.equal(store.memoryUsedBytes, 0);
  t.same(await readdir(join(directory, 'arriving')), []);

  await (
    await store.createIncoming(definition, regionsOf(definition), 'm-00000003')
  ).machine;
  await store.stageImage('web', 'm-00000003', Buffer.from('elf'));
  store.adopt('web');
  await guest.resume();
  t.equal(store.outline('web').imageBytes, 3);
  t.equal(store.get('web').migration, null);
  await store.discardIncoming('web', 'm-00000003');
  t.equal(store.get('web').status, 'paused', 'what is adopted is not discarded');
  t.strictSame(await store.close(), ['web']);
  t.strictSame((await readdir(directory)).sort(), ['arriving', 'web.elf', 'web.json']);
  const other = [{ name: 'ram0', bytes: 2 * MIB }];
  t.match(store.checkIncoming(definitionOf('odd'), other), [{ code: 'unsupported-guest' }]);
});

void t.test('a followed console has no gap and tells how it ended', async (t) => {
  const { store, guests } = await openStore(t);
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
  store.beginOutgoing('web', 'm-00000001');
  await store.endOutgoing('web', { node: 'b', url: 'http://b' });
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
});

async function all(console: AsyncGenerator<ConsoleChunk, unknown>): Promise<string> {
  const parts: string[] = [];
  for (;;) {
    const next = await console.next();
    if (next.done) return [...parts, `end ${JSON.stringify(next.value)}`].join('|');
    parts.push(`${next.value.position}-${next.value.end} ${next.value.text}`);
  }
}
