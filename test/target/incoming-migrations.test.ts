import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { DefinitionFiles } from '../../agent/guest/definition-files.js';
import { openGuests } from '../../agent/guest/open-guests.js';
import { hashHex } from '../../agent/guest/page-hash.js';
import { OwnershipJournal } from '../../agent/journal/ownership-journal.js';
import type { ConnectionEnd } from '../../agent/link/connection.js';
import { sourceControl, targetControl } from '../../agent/link/control-channel.js';
import { connectedPair } from '../../agent/link/memory-connection.js';
import { NodeLock } from '../../agent/lock/node-lock.js';
import { LEASE_GRACE_MS } from '../../shared/lock-limits.js';
import { IncomingMigrations } from '../../agent/target/incoming-migrations.js';
import { LaneThreads } from '../../agent/target/lane-threads.js';
import { SILENT_SOURCE_MS } from '../../agent/target/silent-source.js';
import { CLOSE_CODES, CLOSE_DONE } from '../../shared/protocol/close-codes.js';
import {
  encodeBlobHeader,
  encodePagesHeader,
  encodeRoundEnd,
  encodeZeroPages,
} from '../../shared/protocol/frame.js';
import type { SourceMessage, TargetMessage } from '../../shared/protocol/messages.js';
import { definitionOf } from '../support/array-guest.js';
import { arrayGuestKinds, type HostedArrayGuest } from '../support/hosted-array-guest.js';
import { VirtualTimers } from '../support/link-virtual-timers.js';
import { failingDisk } from '../support/synced-directories.js';

type TypeOf = TargetMessage['type'];

/** One control connection to the node under test. */
interface Source {
  say(...messages: SourceMessage[]): void;
  /** The next message of that type, none of those returned before. */
  hear<T extends TypeOf>(type: T): Promise<Extract<TargetMessage, { type: T }>>;
  readonly closed: Promise<ConnectionEnd>;
  close(code?: number): void;
  cut(): void;
}

/** A node b, that guests come to, with its lock and its guests. */
async function node(t: Test, onMake?: (guest: HostedArrayGuest) => void) {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-incoming-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const logger = pino({ level: 'silent' });
  const timers = new VirtualTimers();
  const lock = new NodeLock({ node: 'b', timers });
  const journal = await OwnershipJournal.open(join(directory, 'journal'));
  const { store, incoming: guests } = await openGuests({
    ...{ node: 'b', kinds: arrayGuestKinds(onMake).kinds, logger, memoryLimitBytes: 2 ** 30 },
    files: new DefinitionFiles(join(directory, 'guests')),
    journal,
  });
  const incoming = new IncomingMigrations({
    ...{ node: 'b', guests, lock, journal, logger, timers },
    scratchMemory: () => Promise.reject(new Error('there is none')),
    streamsFrom: () => ({ url: undefined, tls: null, threads: new LaneThreads(0) }),
  });

  function connect(migrationId: string, from = 'a'): Source {
    const [near, far] = connectedPair();
    const control = sourceControl(near);
    const heard: TargetMessage[] = [];
    let wake: () => void = () => undefined;
    control.onMessage((message) => {
      heard.push(message);
      wake();
    });
    const closed = new Promise<ConnectionEnd>((resolve) => control.onClose(resolve));
    void closed.then(() => wake());
    incoming.accept(targetControl(far), {
      ...{ version: 1, features: [], peer: { node: from, agent: 'test' }, migrationId },
    });
    return {
      closed,
      say: (...messages) => {
        for (const message of messages) control.send(message).catch(() => undefined);
      },
      async hear(type) {
        let ended = false;
        void closed.then(() => (ended = true));
        for (;;) {
          const at = heard.findIndex((message) => message.type === type);
          if (at >= 0) return heard.splice(at, 1)[0] as never;
          if (ended) throw new Error(`the connection ended without ${type}: ${JSON.stringify(heard)}`);
          await new Promise<void>((resolve) => (wake = resolve));
        }
      },
      close: (code = CLOSE_DONE) => control.close(code, ''),
      cut: () => near.cut('test'),
    };
  }
  return { directory, incoming, lock, guests: store, journal, timers, connect };
}

const definition = definitionOf('web');
type Prepare = Extract<SourceMessage, { type: 'prepare' }>;
const prepare = (overrides: Partial<Prepare> = {}): Prepare => ({
  type: 'prepare',
  definition,
  imageBytes: 0,
  regions: [{ name: 'ram0', bytes: definition.memory }],
  traits: {},
  streams: 1,
  verify: 'off',
  dryRun: false,
  ...overrides,
});
const ABORT = { type: 'abort', code: 'cancelled', message: 'the test gives it up' } as const;
const RELEASE = { type: 'lock-release' } as const;

async function locked(source: Source): Promise<Source> {
  source.say({ type: 'lock-request', vm: 'web', requestedAt: 1 }, { type: 'lock-try' });
  await source.hear('lock-granted');
  source.say({ type: 'lock-confirm' });
  return source;
}

async function prepared(source: Source): Promise<string> {
  (await locked(source)).say(prepare());
  return (await source.hear('prepared')).token;
}

/** Resolves once the condition holds; for what happens beside the messages. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

void t.test('only the connection that took the lock brings a guest', async (t) => {
  const b = await node(t);
  await t.test('to the lock of a migration from elsewhere', async (t) => {
    const rightful = await locked(b.connect('m-1'));
    const stranger = b.connect('m-1', 'evil');
    stranger.say(prepare());
    t.match(await stranger.hear('error'), { code: 'unexpected-message', message: /does not hold the lock/ });
    t.equal((await stranger.closed).code, CLOSE_CODES['unexpected-message']);
    t.equal(b.lock.holder, 'm-1', 'which has it still');
    rightful.say(prepare());
    await rightful.hear('prepared');
    rightful.say(ABORT);
    await rightful.closed;
  });
  await t.test('to the lock of a migration from here', async (t) => {
    const own = b.lock.localPort('m-2', 'c');
    own.listen({ answer: () => undefined, ended: (error) => t.fail(error.message) });
    own.send({ type: 'lock-request', vm: 'mine', requestedAt: 1 });
    own.send({ type: 'lock-try' });
    own.send({ type: 'lock-confirm' });
    const stranger = b.connect('m-2', 'evil');
    stranger.say(prepare());
    t.match(await stranger.hear('error'), { code: 'unexpected-message' });
    stranger.cut();
    await stranger.closed;
    t.equal(b.lock.holder, 'm-2');
    t.strictSame(b.guests.list(), []);
  });
});

void t.test('the node is free when nothing of the migration is left, and then at once', async (t) => {
  let destroy: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (destroy = resolve));
  const b = await node(t, (guest) => {
    const end = guest.destroy.bind(guest);
    guest.destroy = () => held.then(end);
  });
  const source = b.connect('m-1');
  await prepared(source);
  source.say(ABORT, RELEASE);
  await source.hear('aborted');
  const next = b.connect('m-2');
  next.say({ type: 'lock-request', vm: 'web', requestedAt: 2 }, { type: 'lock-try' });
  await next.hear('lock-busy');
  t.equal(b.lock.holder, 'm-1', 'given back, but a guest of it is still here');
  const asking = b.connect('m-3');
  asking.say(prepare({ dryRun: true }));
  destroy();
  await next.hear('lock-offer');
  t.strictSame(b.guests.list(), []);
  t.match(await asking.hear('prepared'), { findings: [{ level: 'ok' }] }, 'a question waits for that, too');
  t.equal((await source.closed).code, CLOSE_CODES.cancelled, 'there is nothing more to say');
});

void t.test('a source that gives the lock back in the middle has given the migration up', async (t) => {
  const b = await node(t);
  const source = b.connect('m-1');
  await prepared(source);
  source.say(RELEASE);
  t.match(await source.hear('error'), {
    code: 'unexpected-message',
    message: /released node b in the middle/,
  });
  await source.closed;
  t.equal(b.lock.holder, null);
  t.strictSame(b.guests.list(), []);
});

void t.test('a source that gives up before prepare leaves the node free', async (t) => {
  const b = await node(t);
  const source = await locked(b.connect('m-1'));
  source.say(ABORT, RELEASE);
  await source.closed;
  t.equal(b.lock.holder, null);
});

void t.test('a lease that runs out does not free a node that is in use', async (t) => {
  let destroy: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (destroy = resolve));
  const b = await node(t, (guest) => {
    const end = guest.destroy.bind(guest);
    guest.destroy = () => held.then(end);
  });
  const source = b.connect('m-1');
  await prepared(source);
  source.cut();
  await source.closed;
  await b.timers.advance(2 * LEASE_GRACE_MS);
  t.equal(b.lock.holder, 'm-1');
  destroy();
  await until(() => b.lock.holder === null);
  t.strictSame(b.guests.list(), []);
});

void t.test('prepare after the end of the attempt brings nothing back', async (t) => {
  const b = await node(t);
  const source = b.connect('m-1');
  await prepared(source);
  source.say(ABORT, prepare());
  await source.hear('aborted');
  source.say(prepare());
  await source.closed;
  t.match(b.incoming.list(), [{ id: 'm-1', phase: 'ended' }]);
  t.equal(b.lock.holder, null);
  await b.incoming.close();
});

void t.test('no pages for a migration that is being given up', async (t) => {
  let destroy: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (destroy = resolve));
  const b = await node(t, (guest) => {
    const end = guest.destroy.bind(guest);
    guest.destroy = () => held.then(end);
  });
  const source = b.connect('m-1');
  const token = await prepared(source);
  const take = b.incoming.authorizePages('m-1', 0, token, null);
  source.say(ABORT);
  await source.hear('aborted');
  t.throws(() => b.incoming.authorizePages('m-1', 0, token, null), { code: 'not-found' });
  t.throws(() => take(connectedPair()[1]), { code: 'wrong-state' }, 'nor where it was admitted just before');
  destroy();
  await source.closed;
});

void t.test('no answer is given while it is uncertain whether the commit is on record', async (t) => {
  const uncertain = async (t: Test) => {
    const b = await node(t);
    const source = b.connect('m-1');
    const token = await prepared(source);
    const [sending, receiving] = connectedPair();
    b.incoming.authorizePages('m-1', 0, token, null)(receiving);
    const state = new Uint8Array([1, 2, 3]);
    await sending.send(encodeBlobHeader('device-state', 0, state.length));
    await sending.send(state);
    await sending.send(encodeRoundEnd(0));
    source.say({ type: 'finalize', round: 0, stateDigest: hashHex(state), pagesSent: 0, resume: true });
    await source.hear('ready');
    const disk = failingDisk(t, join(b.directory, 'journal'));
    disk.syncs = Infinity;
    source.say({ type: 'commit' });
    await until(() => b.journal.uncertain('m-1') !== undefined);
    source.cut();
    const asker = b.connect('m-1');
    const ask = async () => {
      asker.say({ type: 'ask' });
      return (await asker.hear('answer')).outcome;
    };
    return { ...b, disk, asker, ask };
  };

  await t.test('until it is certain that it is not', async (t) => {
    const { ask, connect, disk, guests, lock, timers } = await uncertain(t);
    t.equal(await ask(), 'pending');
    const stranger = connect('m-1', 'evil');
    stranger.say({ type: 'ask' });
    t.match(await stranger.hear('error'), { code: 'not-found' });
    disk.syncs = 0;
    let answer: string;
    for (answer = 'pending'; answer === 'pending'; answer = await ask()) await timers.advance(1000);
    t.equal(answer, 'aborted');
    await until(() => lock.holder === null);
    t.strictSame(guests.list(), []);
  });
  await t.test('nor as the agent ends, which does not wait for it', async (t) => {
    const { ask, asker, incoming, journal } = await uncertain(t);
    await incoming.close();
    t.equal(await ask(), 'pending');
    asker.say({ type: 'settled' });
    t.match(await asker.hear('error'), { code: 'wrong-state', message: /not certain/ });
    t.ok(journal.uncertain('m-1'));
  });
});

void t.test('a goodbye waits for the end of its migration, one at a time', async (t) => {
  const b = await node(t);
  const rightful = b.connect('m-1');
  await prepared(rightful);
  const other = b.connect('m-1');
  other.say({ type: 'settled' }, { type: 'settled' });
  t.match(await other.hear('error'), { code: 'unexpected-message', message: /before the one before it/ });
  await other.closed;
  const patient = b.connect('m-1');
  patient.say({ type: 'settled' });
  rightful.say(ABORT);
  await patient.hear('forgotten');
  patient.say({ type: 'settled' });
  await patient.hear('forgotten');
});

void t.test('a source whose turn it is must not be silent', async (t) => {
  const b = await node(t);
  const silence = () => b.timers.advance(2 * SILENT_SOURCE_MS);

  await t.test('having said hello', async (t) => {
    const source = b.connect('m-1');
    await silence();
    t.match(await source.hear('error'), { code: 'timeout' });
    t.equal((await source.closed).code, CLOSE_CODES.timeout);
  });
  await t.test('having the lock', async (t) => {
    const source = await locked(b.connect('m-2'));
    await silence();
    await source.closed;
    t.equal(b.lock.holder, null);
  });
  await t.test('having a guest here', async (t) => {
    const source = b.connect('m-3');
    const token = await prepared(source);
    const [sending, receiving] = connectedPair();
    b.incoming.authorizePages('m-3', 0, token, null)(receiving);
    const zeros = encodeZeroPages({ region: 0, firstPage: 0, pageCount: 1 });
    for (let i = 0; i < 8; i += 1) {
      await b.timers.advance(SILENT_SOURCE_MS / 2);
      for (let frame = 0; frame < 4; frame += 1) await sending.send(zeros);
    }
    t.equal(b.lock.holder, 'm-3', 'pages are as good as words');
    await silence();
    t.equal((await source.closed).code, CLOSE_CODES.timeout);
    await until(() => b.lock.holder === null);
    t.strictSame(b.guests.list(), []);
  });
  await t.test('nor keep the node with words that lead nowhere', async (t) => {
    const source = await locked(b.connect('m-5'));
    for (let i = 0; i < 4; i += 1) {
      await b.timers.advance(SILENT_SOURCE_MS / 2);
      if (b.lock.holder !== 'm-5') break;
      source.say(prepare({ dryRun: true }));
      await source.hear('prepared');
    }
    t.equal((await source.closed).code, CLOSE_CODES.timeout);
    t.equal(b.lock.holder, null);
  });
  await t.test('nor trickle the pages', async (t) => {
    const source = b.connect('m-6');
    const token = await prepared(source);
    const [sending, receiving] = connectedPair();
    b.incoming.authorizePages('m-6', 0, token, null)(receiving);
    await sending.send(encodePagesHeader({ region: 0, firstPage: 0, pageCount: 256 }));
    for (let second = 0; second < 2 * (SILENT_SOURCE_MS / 1000) && b.lock.holder === 'm-6'; second += 1) {
      await sending.send(Uint8Array.of(second)).catch(() => undefined);
      await b.timers.advance(1000);
    }
    t.match(await source.hear('error'), { code: 'timeout', message: /at least 16384 bytes/ });
    await source.closed;
    await until(() => b.lock.holder === null);
    t.strictSame(b.guests.list(), []);
  });
  await t.test('but may be while it waits', async (t) => {
    const holder = b.lock.localPort('m-9', 'c');
    holder.listen({ answer: () => undefined, ended: () => undefined });
    holder.send({ type: 'lock-request', vm: 'mine', requestedAt: 1 });
    holder.send({ type: 'lock-try' });
    holder.send({ type: 'lock-confirm' });
    const source = b.connect('m-4');
    source.say({ type: 'lock-request', vm: 'web', requestedAt: 2 }, { type: 'lock-try' });
    await source.hear('lock-busy');
    await silence();
    holder.send(RELEASE);
    await source.hear('lock-offer');
    source.close();
    await source.closed;
    t.pass('it was not cut off');
  });
});
