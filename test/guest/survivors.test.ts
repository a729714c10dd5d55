import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { DefinitionFiles } from '../../agent/guest/definition-files.js';
import { type Decisions, GuestStore } from '../../agent/guest/guest-store.js';
import type { GuestKind, Survivor } from '../../agent/guest/hosted-guest.js';
import type { JournalEntry } from '../../agent/journal/ownership-journal.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import { definitionOf } from '../support/array-guest.js';
import { started } from '../support/array-guest.js';
import { HostedArrayGuest } from '../support/hosted-array-guest.js';

/** A guest that lives outside of the agent, as one run of the agent after the other sees it. */
class LastingGuest extends HostedArrayGuest {
  owned = 0;
  detached = 0;
  disowned = 0;

  own(): Promise<void> {
    this.owned += 1;
    return Promise.resolve();
  }

  detach(): Promise<void> {
    this.detached += 1;
    return Promise.resolve();
  }

  disown(): Promise<void> {
    this.disowned += 1;
    return Promise.resolve();
  }
}

const entry = (migration: string, decision: JournalEntry['decision'], vm = 'web'): JournalEntry => ({
  migration,
  decision,
  vm,
  peer: 'b',
  at: '2026-01-01T00:00:00.000Z',
});

/** A store that opens on a host where `guest` was left running. */
async function openOn(
  t: Test,
  incoming: string | null,
  entries: JournalEntry[] = [],
  takeUp?: () => Promise<never>,
  prepare: (guest: LastingGuest) => void = () => undefined,
  defined: readonly GuestDefinition[] = [],
) {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-survivors-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  for (const each of defined) await writeFile(join(directory, `${each.name}.json`), JSON.stringify(each));
  const known: unknown[] = [];
  const guest = new LastingGuest(definitionOf('web'));
  prepare(guest);
  const survivor: Survivor = {
    definition: guest.definition,
    incoming,
    takeUp: takeUp ?? (() => Promise.resolve(guest)),
    destroy: () => guest.destroy(),
  };
  let adopted: LastingGuest | null = null;
  const kind: GuestKind = {
    check: () => undefined,
    boot: (definition) => Promise.resolve(new LastingGuest(definition)),
    incoming: (definition) => Promise.resolve(started(new LastingGuest(definition))),
    regions: ({ memory }) => [{ name: 'ram0', bytes: memory }],
    survivors: (definitionOf) => {
      known.push(definitionOf('web'), definitionOf('other'));
      return Promise.resolve([survivor]);
    },
    adopt: (name) => Promise.resolve((adopted = new LastingGuest(definitionOf(name)))),
  };
  const journal: Decisions = {
    get: (migration) => entries.find((candidate) => candidate.migration === migration),
    entries: () => entries,
  };
  const log: { level: number; msg: string }[] = [];
  const store = await GuestStore.open({
    node: 'a',
    kinds: { embedded: { ...kind, survivors: () => Promise.resolve([]) }, qemu: kind },
    files: new DefinitionFiles(directory),
    journal,
    memoryLimitBytes: 4 * 2 ** 20,
    logger: pino({}, { write: (line: string) => void log.push(JSON.parse(line) as never) }),
  });
  return { store, guest, directory, log, known, adopted: () => adopted! };
}

void t.test("the node's own guest is taken up and is as its operator wanted it", async (t) => {
  const { store, guest, directory } = await openOn(t, null);
  t.strictSame(guest.calls, ['settle']);
  t.equal(store.get('web').status, guest.state);
  t.equal(store.memoryUsedBytes, guest.definition.memory, 'its memory counts');
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
  const { store, guest } = await openOn(t, null, [entry('m-00000001', 'commit-sent')]);
  t.strictSame(guest.calls, [], 'it may be running elsewhere');
  store.markUnknown('web', 'm-00000001');
  await t.rejects(store.resume('web'), { code: 'wrong-state' });
  await store.endOutgoing('web', null);
  await store.settle('web');
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
  const { store, guest, log } = await openOn(t, null, [], () =>
    Promise.reject(new Error('its socket is gone')),
  );
  t.match(store.get('web'), { status: 'stray', failure: /its socket is gone/ });
  t.equal(store.memoryUsedBytes, guest.definition.memory);
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

void t.test('what left no more than a name can be told by the definition that the node has', async (t) => {
  const { known } = await openOn(t, null, [], undefined, undefined, [definitionOf('web')]);
  t.strictSame(known, [definitionOf('web'), undefined]);
});

void t.test('a VM that came here is known to be kept only when it is on disk', async (t) => {
  const { store } = await openOn(t, 'm-00000009');
  const definition = definitionOf('moved');
  const regions = [{ name: 'ram0', bytes: definition.memory }];
  const { machine } = await store.createIncoming(definition, regions, 'm-00000003');
  const guest = (await machine) as LastingGuest;
  store.adopt('moved');
  t.equal(await store.kept('moved'), true);
  t.equal(guest.owned, 1);

  const second = definitionOf('second');
  const coming = await store.createIncoming(second, regions, 'm-00000004');
  const failing = (await coming.machine) as LastingGuest;
  failing.own = () => Promise.reject(new Error('no space left'));
  store.adopt('second');
  t.equal(await store.kept('second'), false);
  failing.own = () => Promise.resolve();
  t.equal(await store.kept('second'), true, 'it is tried again each time it is asked for');
  t.equal(await store.kept('gone'), true, 'nothing is to be known of one that is no more');
  await store.close();
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

void t.test('a name is taken from the moment that a machine is to be adopted by it', async (t) => {
  const { store } = await openOn(t, 'm-00000009');
  const adopting = store.takeOver('new', '/run/new.qmp');
  await t.rejects(store.define(definitionOf('new'), undefined), {
    code: 'name-taken',
    message: /being adopted/,
  });
  await adopting;
  t.equal(store.get('new').status, 'paused');
});

void t.test(
  'a VM that has moved, and whose machine here can not be ended, is not started again',
  async (t) => {
    const { store, guest, directory } = await openOn(t, null);
    guest.failing.add('destroy');
    store.beginOutgoing('web', 'm-00000001');
    const to = { node: 'b', url: 'http://b' };
    t.equal(await store.endOutgoing('web', to), false, 'which the journal must remember');
    t.match(store.get('web'), {
      status: 'stray',
      migration: null,
      failure: /could not be ended: destroy was told/,
    });
    await t.rejects(store.start('web'), { code: 'wrong-state' });
    await t.rejects(store.stop('web'), { code: 'guest-failed' });
    guest.failing.clear();
    await store.stop('web');
    t.throws(() => store.get('web'), { code: 'not-found' }, 'it is gone here, as it should have been');
    t.strictSame(await readdir(directory), []);
    await store.define(definitionOf('web'), undefined);
    t.equal(await store.endOutgoing('web', to), true);
    t.equal(store.get('web').status, 'stopped', 'another one of that name is left alone');
  },
);

void t.test('a guest that is taken up and does not run as it should says so', async (t) => {
  const { store, guest, log } = await openOn(t, null, [], undefined, (guest) => guest.failing.add('settle'));
  t.match(store.get('web'), { status: guest.state, failure: /has left it paused: settle was told to fail/ });
  t.ok(log.some(({ level }) => level === 50));
  await store.resume('web');
  t.equal(store.get('web').failure, null);
});
