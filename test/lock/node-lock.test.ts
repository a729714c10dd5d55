import t from 'tap';
import type { MigrationError } from '../../shared/errors.js';
import type { LockCommand } from '../../agent/lock/lock-messages.js';
import { NodeLock, type LockLogger } from '../../agent/lock/node-lock.js';
import type { NodeLockPort } from '../../agent/lock/node-lock-port.js';
import { acquirePair } from '../../agent/lock/pair-lock.js';
import { serveNodeLock } from '../../agent/lock/serve-node-lock.js';
import { memoryControl } from './memory-control.js';
import { VirtualTimers } from './virtual-timers.js';

const GRACE_MS = 1000;
const OFFER_ANSWER_MS = 300;
const IDLE_LIMIT_MS = 10_000;
const LAPSE_MS = 100_000;

function makeLock(logger?: LockLogger): { lock: NodeLock; timers: VirtualTimers } {
  const timers = new VirtualTimers();
  const lock = new NodeLock({
    ...{ node: 'b', graceMs: GRACE_MS, offerAnswerMs: OFFER_ANSWER_MS, maxEntries: 3, timers },
    ...{ idleLimitMs: IDLE_LIMIT_MS, lapseMs: LAPSE_MS, now: () => timers.now },
    ...(logger ? { logger } : {}),
  });
  return { lock, timers };
}

interface Heard {
  answers: string[];
  errors: MigrationError[];
}

function listen(port: NodeLockPort): Heard {
  const heard: Heard = { answers: [], errors: [] };
  port.listen({
    answer: ({ type }) => heard.answers.push(type),
    ended: (error) => heard.errors.push(error),
  });
  return heard;
}

function say(port: NodeLockPort, ...types: Exclude<LockCommand['type'], 'lock-request'>[]): void {
  for (const type of types) port.send({ type });
}

function ask(port: NodeLockPort, requestedAt = 0): void {
  port.send({ type: 'lock-request', vm: 'vm', requestedAt });
}

void t.test('taken, held, released; logged once each', (t) => {
  const lines: unknown[] = [];
  const log = (fields: object, message: string) => void lines.push([message, fields]);
  const { lock } = makeLock({ info: log, warn: log });
  const port = lock.localPort('migration-1', 'c');
  const heard = listen(port);
  ask(port);
  say(port, 'lock-try', 'lock-confirm');
  t.equal(lock.holder, 'migration-1');
  t.match(lock.entries(), [{ migration: 'migration-1', from: 'b', to: 'c', position: 0, state: 'running' }]);
  say(port, 'lock-release', 'lock-release', 'lock-release');
  t.equal(lock.holder, null);
  t.same(heard, { answers: ['lock-granted'], errors: [] });
  const fields = { migration: 'migration-1' };
  t.same(lines, [
    ['node lock taken', fields],
    ['node lock released', fields],
  ]);
  t.end();
});

void t.test('a lease ends when its coordinator stays away, and not when it comes back', async (t) => {
  const { lock, timers } = makeLock();
  const first = lock.remoteSession('migration-1', 'a');
  listen(first);
  ask(first);
  say(first, 'lock-try', 'lock-confirm');
  first.detach();
  first.detach();
  await timers.advance(GRACE_MS - 1);
  t.equal(lock.holder, 'migration-1');
  t.ok(lock.attach('migration-1'), 'the source asks for the outcome on a new connection');
  await timers.advance(2 * GRACE_MS);
  t.equal(lock.holder, 'migration-1');
  lock.detach('migration-1');
  await timers.advance(GRACE_MS);
  t.equal(lock.holder, null);
  t.notOk(lock.attach('migration-1'));
  t.equal(timers.pending, 0, 'no timer is left');
});

void t.test('an offer to a remote coordinator that hangs goes to the next', async (t) => {
  const { lock, timers } = makeLock();
  const hangs = lock.remoteSession('migration-1', 'a');
  const next = lock.remoteSession('migration-2', 'c');
  const heardByHanging = listen(hangs);
  const heardByNext = listen(next);
  ask(hangs);
  ask(next);
  say(hangs, 'lock-try');
  say(next, 'lock-try');
  await timers.advance(OFFER_ANSWER_MS);
  t.match(heardByHanging.errors, [{ code: 'timeout' }]);
  t.equal(heardByNext.answers.at(-1), 'lock-offer');
  say(next, 'lock-confirm');
  await timers.advance(OFFER_ANSWER_MS);
  t.same(heardByNext.errors, []);
  t.equal(lock.holder, 'migration-2', 'one that answered is left alone');
  say(hangs, 'lock-confirm');
  t.match(heardByHanging.errors.at(-1), { code: 'lock-lost' }, 'an answer that comes too late is told so');
  t.equal(lock.holder, 'migration-2');
});

void t.test(
  'a source that comes back before its broken connection was noticed takes over its place',
  async (t) => {
    const { lock, timers } = makeLock();
    const old = lock.remoteSession('migration-1', 'a');
    const heardByOld = listen(old);
    ask(old);
    say(old, 'lock-try');
    const fresh = lock.remoteSession('migration-1', 'a');
    const heardByFresh = listen(fresh);
    ask(fresh);
    t.match(heardByOld.errors, [{ code: 'link-lost' }]);
    say(old, 'lock-release');
    old.detach();
    t.equal(lock.entries().length, 1, 'the old connection has no say any more');
    say(fresh, 'lock-try', 'lock-confirm');
    await timers.advance(2 * GRACE_MS);
    t.equal(lock.holder, 'migration-1');
    t.same(heardByFresh.errors, []);

    const third = lock.remoteSession('migration-1', 'a');
    const heardByThird = listen(third);
    ask(third);
    t.match(heardByThird.errors, [{ code: 'duplicate-migration' }], 'one that runs is not taken over');
    t.equal(lock.holder, 'migration-1');
  },
);

void t.test('another node cannot speak for a migration', (t) => {
  const { lock } = makeLock();
  const port = lock.remoteSession('migration-1', 'a');
  listen(port);
  ask(port);
  const other = lock.remoteSession('migration-1', 'x');
  const heard = listen(other);
  say(other, 'lock-release');
  say(other, 'lock-try');
  ask(other);
  t.match(heard.errors, [{ code: 'unexpected-message' }, { code: 'duplicate-migration' }]);
  other.detach();
  t.match(lock.entries(), [{ migration: 'migration-1', from: 'a' }]);
  t.end();
});

void t.test('a waiter that has the node kept and never tries it holds it for a bounded time', async (t) => {
  const { lock, timers } = makeLock();
  const hostile = (migration: string) => {
    const session = lock.remoteSession(migration, 'a');
    const heard = listen(session);
    ask(session);
    say(session, 'lock-keep');
    return { session, heard };
  };
  const first = hostile('migration-1');
  const honest = lock.remoteSession('migration-2', 'c');
  const heard = listen(honest);
  ask(honest, 1);
  say(honest, 'lock-try');
  t.same(heard.answers, ['lock-busy']);
  await timers.advance(IDLE_LIMIT_MS / 2);
  say(first.session, 'lock-release');
  t.equal(heard.answers.at(-1), 'lock-offer', 'what is given back is free');
  say(honest, 'lock-pass');
  await timers.advance(IDLE_LIMIT_MS);
  const second = hostile('migration-3');
  say(honest, 'lock-try');
  await timers.advance(IDLE_LIMIT_MS / 2 - 1);
  t.equal(heard.answers.at(-1), 'lock-status', 'kept again');
  await timers.advance(1);
  t.equal(heard.answers.at(-1), 'lock-offer', 'both together had their time');
  say(honest, 'lock-confirm', 'lock-release');
  t.same(second.heard.errors, [], 'its place is left to it');

  say(second.session, 'lock-keep');
  const next = lock.remoteSession('migration-4', 'c');
  const heardByNext = listen(next);
  ask(next, 1);
  say(next, 'lock-try');
  t.same(heardByNext.answers, ['lock-granted'], 'a lapse is remembered');
  say(next, 'lock-pass');
  await timers.advance(LAPSE_MS);
  say(second.session, 'lock-keep');
  say(next, 'lock-try');
  t.equal(heardByNext.answers.at(-1), 'lock-busy', 'and is over in the end');
  lock.close();
  t.equal(timers.pending, 0, 'no timer is left');
});

void t.test('two that pass an offer to each other for ever do not either', async (t) => {
  const { lock, timers } = makeLock();
  const evil = ['migration-1', 'migration-2'].map((migration, at) => {
    const session = lock.remoteSession(migration, 'a');
    const heard = listen(session);
    ask(session, at);
    say(session, 'lock-try');
    return { session, heard };
  });
  const honest = lock.remoteSession('migration-3', 'c');
  const { answers } = listen(honest);
  ask(honest, 2);
  say(honest, 'lock-try');
  for (
    let turn = 0;
    turn < 2 * (IDLE_LIMIT_MS / OFFER_ANSWER_MS) && !answers.includes('lock-offer');
    turn += 1
  ) {
    await timers.advance(OFFER_ANSWER_MS - 1);
    const { session } = evil[turn % 2]!;
    say(session, 'lock-pass', 'lock-try');
  }
  t.equal(answers.at(-1), 'lock-offer');
  t.ok(timers.now <= IDLE_LIMIT_MS + OFFER_ANSWER_MS, `after ${timers.now} ms`);
  for (const { heard } of evil) t.same(heard.errors, []);
  lock.close();
});

void t.test('a node in use is free only when the use has ended', async (t) => {
  const { lock, timers } = makeLock();
  const running = (migration: string) => {
    const session = lock.remoteSession(migration, 'a');
    const heard = listen(session);
    ask(session);
    say(session, 'lock-try', 'lock-confirm');
    return { session, heard };
  };
  let released = 0;
  const occupy = ({ session }: ReturnType<typeof running>) => session.occupy(() => (released += 1))!;

  const first = running('migration-1');
  const use = occupy(first);
  t.equal(
    first.session.occupy(() => undefined),
    null,
    'once is enough',
  );
  t.equal(
    lock.remoteSession('migration-1', 'a').occupy(() => undefined),
    null,
    'nor by another connection',
  );
  say(first.session, 'lock-release');
  t.equal(released, 1);
  t.equal(lock.holder, 'migration-1');
  for (let times = 0; times < 3; times += 1) use.end(false);
  t.equal(lock.holder, null, 'it was given back meanwhile');

  const second = running('migration-2');
  occupy(second).end(false);
  t.equal(lock.holder, 'migration-2', 'its coordinator has not given it back');
  say(second.session, 'lock-release');
  t.equal(lock.holder, null);

  const third = running('migration-3');
  occupy(third).end(true);
  t.equal(lock.holder, null, 'nothing of it is left');
  say(third.session, 'lock-release');
  t.same(third.heard.errors, []);
  say(third.session, 'lock-try');
  t.match(third.heard.errors, [{ code: 'lock-lost' }]);

  const fourth = running('migration-4');
  const last = occupy(fourth);
  fourth.session.detach();
  await timers.advance(2 * GRACE_MS);
  t.equal(lock.holder, 'migration-4', 'the lease has run out');
  last.end(false);
  t.equal(lock.holder, null);
  t.equal(timers.pending, 0, 'no timer is left');
});

void t.test('a full queue refuses', (t) => {
  const { lock } = makeLock();
  for (const id of ['migration-1', 'migration-2', 'migration-3']) {
    const port = lock.remoteSession(id, 'a');
    listen(port);
    ask(port);
  }
  const port = lock.remoteSession('migration-4', 'a');
  const heard = listen(port);
  ask(port);
  t.match(heard.errors, [{ code: 'limit-exceeded', retryable: true }]);
  t.equal(lock.entries().length, 3);
  t.end();
});

void t.test(
  'a local acquisition of an id that is in the queue fails, and leaves that one alone',
  async (t) => {
    const { lock } = makeLock();
    const port = lock.localPort('migration-1', 'c');
    listen(port);
    ask(port);
    const { lock: remote } = makeLock();
    const waits = acquirePair({
      request: { migration: 'migration-1', vm: 'vm', from: 'b', to: 'c', requestedAt: 0 },
      local: lock.localPort('migration-1', 'c'),
      remote: { node: 'c', connect: () => Promise.resolve(remote.remoteSession('migration-1', 'b')) },
      signal: new AbortController().signal,
    });
    await t.rejects(waits, { code: 'duplicate-migration' });
    t.equal(lock.entries().length, 1);
    t.equal(remote.entries().length, 0);
    remote.close();
    lock.close();
  },
);

void t.test('closing the lock leaves no timer', async (t) => {
  const { lock, timers } = makeLock();
  for (const id of ['migration-1', 'migration-2']) {
    const port = lock.remoteSession(id, 'a');
    listen(port);
    ask(port);
    say(port, 'lock-try');
    if (id === 'migration-2') port.detach();
  }
  t.not(timers.pending, 0);
  lock.close();
  t.equal(timers.pending, 0);
  lock.detach('migration-1');
  t.equal(timers.pending, 0, 'nor starts one later');
  await timers.advance(10 * GRACE_MS);
  t.equal(lock.entries().length, 2);
});

void t.test('served over a control connection', async (t) => {
  const { lock, timers } = makeLock();
  const link = memoryControl(timers, () => 1);
  const refusals: MigrationError[] = [];
  serveNodeLock({
    ...{ lock, control: link.target, migration: 'migration-1', from: 'a' },
    refused: (error) => refusals.push(error),
  });
  const heard: string[] = [];
  link.source.onMessage(({ type }) => heard.push(type));
  await link.source.send({ type: 'ask' });
  await link.source.send({ type: 'lock-request', vm: 'vm', requestedAt: 0 });
  await link.source.send({ type: 'lock-try' });
  await timers.advance(10);
  t.same(heard, ['lock-granted'], 'and what is not of the lock is left to others');
  await link.source.send({ type: 'lock-try' });
  await timers.advance(10);
  t.match(refusals, [{ code: 'unexpected-message' }]);
  link.cut();
  await timers.advance(GRACE_MS + 10);
  t.same(lock.entries(), []);
});
