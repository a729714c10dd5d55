import { rmSync, writeFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { SourceState } from '../../agent/source/source-state.js';
import type { TargetState } from '../../agent/target/target-state.js';
import type { Connection } from '../../agent/link/connection.js';
import type { MigrationResult } from '../../shared/api.js';
import { type ErrorCode, MigrationError } from '../../shared/errors.js';
import {
  decodeTargetMessage,
  encodeSourceMessage,
  encodeTargetMessage,
} from '../../shared/protocol/control-codec.js';
import type { SourceMessage, TargetMessage } from '../../shared/protocol/messages.js';
import { systemTimers } from '../../shared/timers.js';
import { ArrayGuest, type GuestCall } from '../support/array-guest.js';
import { delayed, dropsAtByte, rateLimited } from '../support/link-faults.js';
import { MemoryMigration, type MemoryMigrationOptions } from '../support/memory-migration.js';

const ID = 'm-00000001';

/** Where a link breaks of itself no explanation comes: the tests need not wait for one. */
const UNEXPLAINED = { explanationMs: 1 };

/** Where the target says why, its words are waited for as they are in an agent. */
const EXPLAINED = {};

/** A guest with some content that writes during the first rounds. */
function busyGuest(): ArrayGuest {
  const guest = new ArrayGuest('vm', 48, 8);
  for (let page = 0; page < 30; page += 1) guest.write(0, page, 1 + (page % 7));
  guest.onHarvest = (harvest) => {
    for (let page = 0; page < 12 >> harvest; page += 1) guest.write(0, page, 100 + harvest);
  };
  return guest;
}

function sameMemory(a: ArrayGuest, b: ArrayGuest): boolean {
  return a.regions.every(({ memory }, i) => Buffer.compare(memory, b.regions[i]!.memory) === 0);
}

/** What must hold however a migration ended: one owner, memory right, nothing left behind. Returns what does not. */
function violations(migration: MemoryMigration, result: MigrationResult): string[] {
  const { guest, copy } = migration;
  const found: string[] = [];
  const expect = (holds: boolean, what: string) => void (holds || found.push(what));
  expect(!guest.tracking, 'the write-log goes on');
  // 'released': it asks for nothing, and tells the target that it need not remember
  const left = migration.sourceJournal.get(ID)?.decision ?? 'released';
  expect(left === 'released', 'the source still asks for the outcome');
  expect(migration.pageConnections.every(isClosed), 'a page connection is open');
  if (result.outcome === 'completed') {
    expect(
      copy !== null && migration.runnable.length === 1 && migration.runnable[0] === copy,
      'the copy runs alone',
    );
    expect(guest.destroyed, 'the source copy is there');
    expect(copy !== null && sameMemory(guest, copy), 'memory differs');
    expect(migration.targetJournal.get(ID)?.decision === 'committed', 'not on record as committed');
  } else {
    expect(migration.runnable.length === 1 && migration.runnable[0] === guest, 'the guest runs here alone');
    expect(copy === null || copy.destroyed, 'the copy is there');
    expect(migration.adopted.length === 0, 'the target has taken the guest over');
    expect(migration.targetJournal.get(ID)?.decision !== 'committed', 'on record as committed');
    expect(migration.target.state.name === 'aborted', `the target is ${migration.target.state.name}`);
  }
  return found;
}

const closed = new WeakMap<Connection, boolean>();
function isClosed(connection: Connection): boolean {
  return closed.get(connection) ?? false;
}

/** Far more than any link here takes to close. ms */
const CLOSE_LIMIT_MS = 5000;

/** Runs a migration with faults to its end on both sides, and remembers which page connections are closed by then. */
async function run(guest: ArrayGuest, options: MemoryMigrationOptions = {}) {
  const migration = await MemoryMigration.start(guest, options);
  return { migration, result: await ended(migration) };
}

async function ended(migration: MemoryMigration): Promise<MigrationResult> {
  const result = await migration.ended();
  // A close takes the time of the link; one that never comes is found all the same.
  const closes = migration.pageConnections.map(
    (connection) =>
      new Promise<void>((done) => connection.onClose(() => done(void closed.set(connection, true)))),
  );
  let timer: NodeJS.Timeout | undefined;
  const enough = new Promise((done) => (timer = setTimeout(done, CLOSE_LIMIT_MS)));
  await Promise.race([Promise.all(closes), enough]);
  clearTimeout(timer);
  await migration.clean();
  return result;
}

/** A guest that a failed migration left here moves as if nothing had happened, with what it wrote meanwhile. */
async function migratesAgain(guest: ArrayGuest): Promise<string[]> {
  guest.failing.clear();
  guest.write(1, 5, 55);
  const { migration, result } = await run(guest);
  return result.outcome === 'completed' ? violations(migration, result) : [`again: ${result.error?.message}`];
}

async function assertSound(t: Test, migration: MemoryMigration, result: MigrationResult): Promise<void> {
  const what = `${result.outcome} (${result.error?.code ?? 'no error'})`;
  t.strictSame(violations(migration, result), [], what);
  if (result.outcome !== 'completed') t.strictSame(await migratesAgain(migration.guest), [], 'and again');
}

/** Starts a migration and calls `fault` when a side enters a state for the first time. */
async function withFaultIn(
  side: 'source' | 'target',
  state: string,
  fault: (migration: MemoryMigration) => void | Promise<void>,
  options: MemoryMigrationOptions = {},
) {
  const guest = busyGuest();
  const faults: Promise<void>[] = [];
  const watch = ({ name }: SourceState | TargetState) => {
    if (name !== state || faults.length > 0) return;
    // the first state is entered before start() returns
    faults.push(started.then(fault));
  };
  const started: Promise<MemoryMigration> = Promise.resolve().then(() =>
    MemoryMigration.start(guest, {
      options: { maxDowntimeMs: 0, verify: 'strict', streams: 2 },
      timeouts: UNEXPLAINED,
      ...(side === 'source' ? { onSourceState: watch } : { onTargetState: watch }),
      ...options,
    }),
  );
  const migration = await started;
  const result = await ended(migration);
  await Promise.all(faults);
  return { migration, result, faulted: faults.length > 0 };
}

const SOURCE_STATES = [
  'preparing',
  'copying',
  'pausing',
  'switching-over',
  'verifying',
  'finalizing',
  'recording-commit',
  'committing',
  'releasing',
] as const;
const TARGET_STATES = [
  'preparing',
  'receiving',
  'loading',
  'ready',
  'recording-commit',
  'resuming',
  'running',
] as const;

void t.test('a cancel in every state', async (t) => {
  for (const state of SOURCE_STATES) {
    await t.test(state, async (t) => {
      let cancelled: Promise<void> | undefined;
      const { migration, result } = await withFaultIn('source', state, ({ source }) => {
        cancelled = source.cancel();
        cancelled.catch(() => undefined);
      });
      if (result.outcome === 'cancelled') await cancelled;
      else await t.rejects(cancelled!, { code: 'too-late' });
      await assertSound(t, migration, result);
    });
  }
  await t.test('from within the announcement of the state', async (t) => {
    let migration: MemoryMigration | null = null;
    const guest = busyGuest();
    migration = await MemoryMigration.start(guest, {
      onSourceState: ({ name }) => {
        if (name === 'pausing') void migration!.source.cancel();
      },
    });
    const result = await ended(migration);
    t.equal(result.outcome, 'cancelled');
    await assertSound(t, migration, result);
  });
  await t.test('twice', async (t) => {
    const { migration, result } = await withFaultIn('source', 'copying', async ({ source }) => {
      await Promise.all([source.cancel(), source.cancel()]);
      await source.cancel();
    });
    t.equal(result.outcome, 'cancelled');
    await assertSound(t, migration, result);
  });
});

void t.test('a connection is cut', async (t) => {
  const cuts = {
    control: ({ controlConnections }: MemoryMigration) => controlConnections[0].cut('a test'),
    pages: ({ pageConnections }: MemoryMigration) => pageConnections.forEach((c) => c.cut('a test')),
  };
  for (const [what, cut] of Object.entries(cuts)) {
    for (const [side, states] of [
      ['source', SOURCE_STATES],
      ['target', TARGET_STATES],
    ] as const) {
      for (const state of states) {
        await t.test(`${what}, with the ${side} ${state}`, async (t) => {
          const { migration, result, faulted } = await withFaultIn(side, state, cut);
          t.ok(faulted);
          if (result.outcome !== 'completed')
            t.equal(result.error?.retryable, true, result.error?.message ?? '');
          await assertSound(t, migration, result);
        });
      }
    }
  }
});

void t.test('the page streams break after any number of bytes', async (t) => {
  const { result: whole } = await run(busyGuest(), { options: { streams: 1 } });
  const step = Math.floor(whole.wireBytes / 40);
  for (let bytes = 0; bytes < whole.wireBytes; bytes += bytes < 40 ? 7 : step) {
    let cut = false;
    const { migration, result } = await run(busyGuest(), {
      timeouts: UNEXPLAINED,
      decoratePages: (connection) =>
        dropsAtByte(connection, bytes, () => {
          cut = true;
          migrationOf(connection).cut('a test');
        }),
    });
    t.ok(cut, `byte ${bytes}`);
    t.equal(result.outcome, 'failed');
    await assertSound(t, migration, result);
  }
});

/** The in-memory connection that a decorator is given. */
function migrationOf(connection: Connection): { cut(reason: string): void } {
  return connection as unknown as { cut(reason: string): void };
}

void t.test('a call of the source guest fails', async (t) => {
  for (const call of ['start', 'populated', 'harvest', 'pause', 'save'] satisfies GuestCall[]) {
    await t.test(call, async (t) => {
      const guest = busyGuest();
      guest.failing.add(call);
      const { migration, result } = await run(guest);
      t.equal(result.outcome, 'failed');
      t.match(result.error, { code: 'guest-failed', message: new RegExp(call) });
      await assertSound(t, migration, result);
    });
  }
  for (const state of ['copying', 'switching-over']) {
    await t.test(`the write-log can't be relied on, ${state}`, async (t) => {
      const { migration, result } = await withFaultIn('source', state, ({ guest }) => {
        guest.failing.add('confirm');
      });
      t.match(result, { outcome: 'failed', error: { code: 'tracking-failed', message: /confirm/ } });
      await assertSound(t, migration, result);
    });
  }
  await t.test('harvest, once the guest is paused', async (t) => {
    const guest = busyGuest();
    const { migration, result } = await run(guest, {
      onSourceState: ({ name }) => {
        if (name === 'switching-over') guest.failing.add('harvest');
      },
    });
    t.equal(result.error?.code, 'guest-failed');
    await assertSound(t, migration, result);
  });
  await t.test('settle, after an abort: the result says that it stands still', async (t) => {
    const guest = busyGuest();
    guest.failing.add('save').add('settle');
    const { migration, result } = await run(guest);
    t.equal(result.outcome, 'failed');
    t.match(result.error, { code: 'guest-failed', message: /is paused here/ });
    t.strictSame(migration.runnable, []);
    t.ok(migration.copy?.destroyed);
    t.notOk(guest.tracking);
    guest.failing.clear();
    await guest.resume();
    t.strictSame(await migratesAgain(guest), []);
  });
  await t.test('stop, after an abort: the guest runs on', async (t) => {
    const guest = busyGuest();
    guest.failing.add('save').add('stop');
    const { migration, result } = await run(guest);
    t.equal(result.outcome, 'failed');
    t.strictSame(migration.runnable, [guest]);
    t.strictSame(migration.warnings, ['the write-log could not be stopped']);
    t.strictSame(await migratesAgain(guest), []);
  });
  await t.test('destroy, after the commit: it never runs, and the question stays on record', async (t) => {
    const guest = busyGuest();
    guest.failing.add('destroy').add('stop');
    const { migration, result } = await run(guest);
    t.equal(result.outcome, 'completed');
    t.equal(guest.state, 'paused');
    t.strictSame(migration.runnable, [migration.copy]);
    t.equal(migration.sourceJournal.get(ID)?.decision, 'commit-sent');
    t.equal(migration.warnings.length, 2);
  });
});

void t.test('a call of the incoming guest fails', async (t) => {
  const failing = (...calls: GuestCall[]) => {
    const copy = new ArrayGuest('vm', 48, 8);
    calls.forEach((call) => copy.failing.add(call));
    return copy;
  };
  await t.test('load: the guest runs on here', async (t) => {
    const { migration, result } = await run(busyGuest(), { createTarget: () => failing('load') });
    t.match(result.error, { code: 'guest-failed', message: /node b: load/ });
    await assertSound(t, migration, result);
  });
  await t.test('resume: it is committed, and stays paused there', async (t) => {
    const { migration, result } = await run(busyGuest(), { createTarget: () => failing('resume') });
    t.equal(result.outcome, 'completed');
    t.match(result.error, {
      code: 'guest-failed',
      message: /has moved to node b and is paused there.*: resume/,
    });
    t.strictSame(migration.runnable, []);
    t.ok(migration.guest.destroyed);
    t.match(migration.warnings, [/committed to this node, but did not start/]);
  });
  await t.test('destroy: what is left of it does not run', async (t) => {
    const { migration, result } = await run(busyGuest(), { createTarget: () => failing('load', 'destroy') });
    t.equal(result.outcome, 'failed');
    t.strictSame(migration.runnable, [migration.guest]);
    t.match(migration.warnings, [/could not be cleared away/]);
    t.equal(migration.target.state.name, 'aborted');
  });
});

void t.test('the machine of the incoming guest, which starts while pages come', async (t) => {
  for (const state of TARGET_STATES.slice(0, 3)) {
    await t.test(`fails to start, ${state}: the guest runs on here`, async (t) => {
      let fail: () => void = () => undefined;
      const never = new Promise<never>((_, reject) => {
        fail = () => reject(new MigrationError('guest-failed', 'QEMU ended with exit code 1'));
      });
      const { migration, result, faulted } = await withFaultIn('target', state, () => fail(), {
        startTarget: () => never,
        timeouts: EXPLAINED,
      });
      t.ok(faulted);
      t.match(result, { outcome: 'failed', error: { code: 'guest-failed', message: /exit code 1/ } });
      await assertSound(t, migration, result);
    });
    // Before that there is nothing that could start.
    if (state === 'preparing') continue;
    await t.test(`has started only when it is ${state}`, async (t) => {
      let start: (copy: ArrayGuest) => void = () => undefined;
      const machine = new Promise<ArrayGuest>((resolve) => (start = resolve));
      const { migration, result } = await withFaultIn('target', state, ({ copy }) => start(copy!), {
        startTarget: () => machine,
      });
      t.match(result, { outcome: 'completed', error: null });
      await assertSound(t, migration, result);
    });
  }
  await t.test('has not started yet when the migration is cancelled', async (t) => {
    const { migration, result } = await withFaultIn('source', 'copying', ({ source }) => source.cancel(), {
      startTarget: () => new Promise(() => undefined),
    });
    t.equal(result.outcome, 'cancelled');
    await assertSound(t, migration, result);
  });
});

void t.test('the machine of the guest dies', async (t) => {
  const dies = ({ guest }: MemoryMigration) => guest.die('QEMU was killed');
  for (const state of SOURCE_STATES) {
    await t.test(`at the source, ${state}`, async (t) => {
      const { migration, result, faulted } = await withFaultIn('source', state, dies);
      t.ok(faulted);
      if (['finalizing', 'recording-commit', 'committing', 'releasing'].includes(state)) {
        t.match(result, { outcome: 'completed', error: null }, 'the target has all of it');
        return;
      }
      t.match(result, { outcome: 'failed', error: { code: 'guest-failed', message: /QEMU was killed/ } });
      t.strictSame(migration.runnable, []);
      t.ok(migration.copy === null || migration.copy.destroyed, 'nothing is kept at the target');
      t.notMatch(migration.guest.calls, ['settle']);
    });
  }
  for (const state of ['receiving', 'loading', 'ready']) {
    await t.test(`at the target, ${state}`, async (t) => {
      const dies = ({ copy }: MemoryMigration) => copy!.die('QEMU was killed');
      const { migration, result } = await withFaultIn('target', state, dies, { timeouts: EXPLAINED });
      t.match(result, { outcome: 'failed', error: { code: 'guest-failed', message: /QEMU was killed/ } });
      await assertSound(t, migration, result);
    });
  }
});

void t.test('the target refuses', async (t) => {
  const codes: ErrorCode[] = [
    'target-has-guest',
    'target-out-of-memory',
    'unsupported-guest',
    'unsupported-option',
    'duplicate-migration',
    'limit-exceeded',
    'invalid-image',
  ];
  for (const code of codes) {
    await t.test(code, async (t) => {
      const { migration, result } = await run(busyGuest(), {
        createTarget: () => {
          throw new MigrationError(code, 'the test refuses');
        },
      });
      t.match(result.error, { code, message: 'node b: the test refuses' });
      t.notMatch(migration.guest.calls, ['pause']);
      await assertSound(t, migration, result);
    });
  }
});

/** Swallows messages of one type. */
function withholding(connection: Connection, type: TargetMessage['type']): Connection {
  const send = connection.send.bind(connection);
  connection.send = (data) => (decodeTargetMessage(data).type === type ? Promise.resolve() : send(data));
  return connection;
}

void t.test('the target does not answer', async (t) => {
  const timeouts = { prepareMs: 20, roundAckMs: 20, finalizeMs: 20, commitMs: 20, askEveryMs: 1 };
  for (const type of ['prepared', 'round-ack', 'verify-hashes', 'ready', 'running'] as const) {
    await t.test(type, async (t) => {
      const { migration, result } = await run(busyGuest(), {
        options: { verify: 'strict' },
        // the others are not to run out on a busy machine
        timeouts: {
          prepareMs: type === 'prepared' ? timeouts.prepareMs : 60_000,
          roundAckMs: type === 'round-ack' || type === 'verify-hashes' ? timeouts.roundAckMs : 60_000,
          finalizeMs: type === 'ready' ? timeouts.finalizeMs : 60_000,
          commitMs: type === 'running' ? timeouts.commitMs : 60_000,
          askEveryMs: timeouts.askEveryMs,
        },
        decorateTargetControl: (connection) => withholding(connection, type),
      });
      if (type === 'running') t.equal(result.outcome, 'completed', 'the outcome was asked for');
      else t.match(result.error, { code: 'timeout', retryable: true, message: new RegExp(type) });
      await assertSound(t, migration, result);
    });
  }
  await t.test('and takes no pages', async (t) => {
    // more than a page stream keeps in flight
    const guest = new ArrayGuest('vm', 3000);
    for (let page = 0; page < 3000; page += 1) guest.write(0, page, 1);
    const { migration, result } = await run(guest, {
      timeouts: { stallMs: 40 },
      decoratePages: (connection) => {
        connection.send = () => new Promise(() => undefined);
        return connection;
      },
    });
    t.match(result.error, { code: 'timeout', message: /has taken no pages/ });
    t.strictSame(violations(migration, result), []);
  });
});

/** At once: what the steps under way have opened is as broken as what they open next. */
function breakJournal(migration: MemoryMigration, side: 'source' | 'target'): void {
  const directory = join(migration.directory, side);
  rmSync(directory, { recursive: true });
  writeFileSync(directory, 'in the way');
}

async function mendJournal(migration: MemoryMigration, side: 'source' | 'target'): Promise<void> {
  const directory = join(migration.directory, side);
  await rm(directory);
  await mkdir(directory);
}

void t.test('a journal cannot be written', async (t) => {
  await t.test('by the target, from the start: nothing is copied', async (t) => {
    const migration = await MemoryMigration.start(busyGuest());
    breakJournal(migration, 'target');
    const result = await ended(migration);
    t.match(result.error, { code: 'internal', message: /journal/ });
    t.strictSame(result.rounds, []);
    await assertSound(t, migration, result);
  });
  await t.test('by the source, at the commit: it is not sent', async (t) => {
    const migration: MemoryMigration = await MemoryMigration.start(busyGuest(), {
      onSourceState: ({ name }) => {
        if (name === 'finalizing') breakJournal(migration, 'source');
      },
    });
    const result = await ended(migration);
    t.match(result.error, { code: 'internal', message: /journal/ });
    t.notOk(migration.sourceStates.includes('committing'));
    await assertSound(t, migration, result);
  });
  await t.test('by the target, at the commit: it does not commit', async (t) => {
    const migration: MemoryMigration = await MemoryMigration.start(busyGuest(), {
      timeouts: { askEveryMs: 1 },
      onSourceState: ({ name }) => {
        if (name === 'finalizing') breakJournal(migration, 'target');
        if (name === 'asking') void mendJournal(migration, 'target');
      },
    });
    const result = await ended(migration);
    t.match(result.error, { code: 'internal', message: /node b: the journal/ });
    t.ok(migration.sourceStates.includes('asking'), 'after the commit only the answer counts');
    await assertSound(t, migration, result);
  });
});

void t.test('an unknown outcome', async (t) => {
  for (const outcome of ['committed', 'aborted'] as const) {
    await t.test(`is told, and asked for until it is ${outcome}`, async (t) => {
      let answer: ((outcome: 'committed' | 'aborted') => void) | null = null;
      let failures = 3;
      const migration = await MemoryMigration.start(busyGuest(), {
        timeouts: { askEveryMs: 1, unknownAfterMs: 1 },
        onTargetState: ({ name }) => {
          const last = outcome === 'committed' ? 'recording-commit' : 'ready';
          if (name === last) migration.controlConnections[0].cut('a test');
        },
        onSourceState: ({ name }) => {
          // the commit is not sent before the cut is noticed: this is the other order
          if (name === 'committing') migration.controlConnections[0].cut('a test');
        },
        askOutcome: () => {
          if (failures-- > 0) return Promise.reject(new Error('unreachable'));
          return new Promise((resolve) => (answer = resolve));
        },
      });
      if (outcome === 'committed') {
        const told = await migration.source.reported;
        t.equal(told.outcome, 'unknown');
        t.match(told.error, { code: 'outcome-unknown', message: /do not start vm anywhere by hand/ });
        t.equal(migration.guest.state, 'paused');
        t.equal(migration.sourceJournal.get(ID)?.decision, 'commit-sent');
        await t.rejects(migration.source.cancel(), { code: 'too-late' });
        await waitFor(() => answer);
        answer!(migration.targetJournal.get(ID)?.decision === 'committed' ? 'committed' : 'aborted');
        t.equal(told.outcome, 'unknown', 'what was told stays as it was');
      }
      if (outcome === 'aborted' && (await migration.source.reported).outcome === 'unknown') {
        await waitFor(() => answer);
        answer!('aborted');
      }
      const result = await ended(migration);
      await assertSound(t, migration, result);
      t.equal(migration.warnings.filter((text) => /could not be asked/.test(text)).length <= 1, true);
    });
  }
  await t.test('a question that hangs does not keep it from being told', async (t) => {
    const signals: AbortSignal[] = [];
    const migration = await MemoryMigration.start(busyGuest(), {
      timeouts: { askEveryMs: 1, unknownAfterMs: 1, askMs: 5 },
      decorateTargetControl: (connection) => withholding(connection, 'running'),
      onTargetState: ({ name }) => {
        if (name === 'running') migration.controlConnections[0].cut('a test');
      },
      askOutcome: (signal) => {
        signals.push(signal);
        return signals.length < 3 ? new Promise(() => undefined) : Promise.resolve('committed');
      },
    });
    t.equal((await migration.source.reported).outcome, 'unknown');
    const result = await ended(migration);
    t.equal(result.outcome, 'completed');
    t.ok(signals[0]!.aborted, 'the question was given up');
    await assertSound(t, migration, result);
  });
  await t.test('the agent shuts down: told at once, and the question stays on record', async (t) => {
    const migration = await MemoryMigration.start(busyGuest(), {
      onSourceState: ({ name }) => {
        if (name === 'committing') migration.controlConnections[0].cut('a test');
        if (name === 'asking') migration.source.dispose();
      },
      askOutcome: () => new Promise(() => undefined),
    });
    const told = await migration.source.reported;
    t.equal(told.outcome, 'unknown');
    t.equal(migration.sourceJournal.get(ID)?.decision, 'commit-sent');
    t.equal(migration.guest.state, 'paused');
    await migration.target.settled;
    await migration.clean();
  });
});

async function waitFor(condition: () => unknown): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

void t.test('the target talks nonsense', async (t) => {
  const nonsense: Record<string, [state: (typeof SOURCE_STATES)[number], message: TargetMessage]> = {
    'it runs already': ['copying', { type: 'running', resumeMs: 0, resumedAt: 0, failure: null }],
    'it is ready already': ['copying', { type: 'ready', loadMs: 0 }],
    'another round': ['copying', { type: 'round-ack', round: 77 }],
    'prepared again': ['copying', { type: 'prepared', transport: 'websocket', token: 'x', findings: [] }],
    'hashes of nothing': [
      'copying',
      { type: 'verify-hashes', region: 0, firstPage: 0, hashes: new Uint8Array(8) },
    ],
    'hashes of other pages': [
      'verifying',
      { type: 'verify-hashes', region: 1, firstPage: 0, hashes: new Uint8Array(8) },
    ],
    'an answer to no question': ['finalizing', { type: 'answer', outcome: 'committed' }],
    'it gives up': ['switching-over', { type: 'aborted' }],
  };
  for (const [what, [state, message]] of Object.entries(nonsense)) {
    await t.test(what, async (t) => {
      const { migration, result } = await withFaultIn('source', state, ({ controlConnections }) =>
        controlConnections[1].send(encodeTargetMessage(message)).catch(() => undefined),
      );
      t.equal(result.outcome, 'failed');
      await assertSound(t, migration, result);
    });
  }
  await t.test('bytes that are no message', async (t) => {
    const { migration, result } = await withFaultIn('source', 'copying', ({ controlConnections }) =>
      controlConnections[1].send(new Uint8Array([0xc1, 1, 2])).catch(() => undefined),
    );
    t.equal(result.outcome, 'failed');
    await assertSound(t, migration, result);
  });
});

void t.test('the source talks nonsense', async (t) => {
  const finalize = { type: 'finalize', round: 0, stateDigest: '0'.repeat(16), resume: true } as const;
  const nonsense: Record<string, [state: (typeof TARGET_STATES)[number], message: SourceMessage]> = {
    'commit before all is there': ['receiving', { type: 'commit' }],
    'wrong count of pages': ['receiving', { ...finalize, pagesSent: 1 }],
    'no device state': ['receiving', { ...finalize, pagesSent: 0 }],
    'pages that do not exist': [
      'receiving',
      { type: 'verify-request', region: 0, firstPage: 47, pageCount: 2 },
    ],
    'a region that does not exist': [
      'receiving',
      { type: 'verify-request', region: 9, firstPage: 0, pageCount: 1 },
    ],
    'finalize again': ['ready', { ...finalize, pagesSent: 1 }],
  };
  for (const [what, [state, message]] of Object.entries(nonsense)) {
    await t.test(what, async (t) => {
      const { migration, result } = await withFaultIn('target', state, ({ controlConnections }) =>
        controlConnections[0].send(encodeSourceMessage(message)).catch(() => undefined),
      );
      t.equal(result.outcome, 'failed');
      await assertSound(t, migration, result);
    });
  }
  await t.test('what it asks of a guest that runs there is refused, and changes nothing', async (t) => {
    const { migration, result } = await withFaultIn('target', 'running', ({ controlConnections }) =>
      controlConnections[0]
        .send(encodeSourceMessage({ type: 'verify-request', region: 0, firstPage: 0, pageCount: 1 }))
        .catch(() => undefined),
    );
    t.equal(result.outcome, 'completed');
    await assertSound(t, migration, result);
  });
});

void t.test('a listener that throws changes nothing', async (t) => {
  const fail = () => {
    throw new Error('a listener fails');
  };
  const { migration, result } = await run(busyGuest(), { onSourceState: fail, onTargetState: fail });
  t.equal(result.outcome, 'completed');
  t.ok(migration.warnings.length > 0);
  await assertSound(t, migration, result);
});

const anyWrite = fc.record({ region: fc.nat(2), page: fc.nat(200), value: fc.nat(255) });
const anyFault = fc.oneof(
  { weight: 2, arbitrary: fc.constant({ kind: 'none' } as const) },
  fc.record({ kind: fc.constant('drop' as const), bytes: fc.nat(400_000), stream: fc.nat(3) }),
  fc.record({
    kind: fc.constantFrom('cancel' as const, 'cut-control' as const, 'cut-pages' as const),
    side: fc.constantFrom('source' as const, 'target' as const),
    state: fc.nat(20),
  }),
  fc.record({
    kind: fc.constant('guest' as const),
    call: fc.constantFrom<GuestCall>('start', 'populated', 'harvest', 'pause', 'save'),
  }),
);

void t.test('whatever the guest writes, however it is sent and whatever fails', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        regions: fc.array(fc.integer({ min: 1, max: 150 }), { minLength: 1, maxLength: 3 }),
        content: fc.array(anyWrite, { maxLength: 100 }),
        rounds: fc.array(fc.array(anyWrite, { maxLength: 40 }), { maxLength: 5 }),
        streams: fc.integer({ min: 1, max: 4 }),
        verify: fc.constantFrom('off' as const, 'after' as const, 'strict' as const),
        maxDowntimeMs: fc.constantFrom(0, 30),
        link: fc.constantFrom('plain', 'delayed', 'rate-limited'),
        fault: anyFault,
      }),
      async ({ regions, content, rounds, streams, verify, maxDowntimeMs, link, fault }) => {
        const guest = new ArrayGuest('vm', ...regions);
        const write = ({ region, page, value }: { region: number; page: number; value: number }) => {
          const index = region % regions.length;
          guest.write(index, page % regions[index]!, value);
        };
        content.forEach(write);
        guest.onHarvest = (harvest) => rounds[harvest]?.forEach(write);
        if (fault.kind === 'guest') guest.failing.add(fault.call);
        let states = 0;
        const strike = (side: 'source' | 'target') => () => {
          if (!('side' in fault) || fault.side !== side || states++ !== fault.state % 9) return;
          void started.then((migration) => {
            if (fault.kind === 'cancel') migration.source.cancel().catch(() => undefined);
            else if (fault.kind === 'cut-control') migration.controlConnections[0].cut('a test');
            else migration.pageConnections.forEach((connection) => connection.cut('a test'));
          });
        };
        const worsen = (connection: Connection) =>
          link === 'delayed'
            ? delayed(connection, 1, systemTimers)
            : link === 'rate-limited'
              ? rateLimited(connection, 5e8, systemTimers)
              : connection;
        const starting = () =>
          MemoryMigration.start(guest, {
            options: { streams, verify, maxDowntimeMs },
            timeouts: { askEveryMs: 1 },
            onSourceState: strike('source'),
            onTargetState: strike('target'),
            decoratePages: (connection, stream) =>
              fault.kind === 'drop' && stream === fault.stream
                ? dropsAtByte(worsen(connection), fault.bytes, () => migrationOf(connection).cut('a test'))
                : worsen(connection),
          });
        const started = Promise.resolve().then(starting);
        const migration = await started;
        const result = await ended(migration);
        const found = violations(migration, result);
        if (fault.kind === 'none' && result.outcome !== 'completed') found.push(`${result.error?.message}`);
        if (result.verify.mismatches > 0) found.push('pages differ');
        if (result.outcome !== 'completed') {
          guest.failing.clear();
          const second = await run(guest);
          if (second.result.outcome !== 'completed') found.push('it does not migrate again');
          found.push(...violations(second.migration, second.result));
        }
        if (found.length > 0) throw new Error(found.join('; '));
      },
    ),
    { numRuns: 150 },
  );
});

void t.test('a commit is sent only where the journal says so', async (t) => {
  const { migration, result } = await withFaultIn('source', 'switching-over', async ({ sourceJournal }) => {
    const at = new Date().toISOString();
    await sourceJournal.decide({ migration: ID, decision: 'aborted', vm: 'vm', peer: 'stranger', at });
  });
  t.match(result, {
    outcome: 'failed',
    error: { code: 'internal', message: /is aborted: its commit is not/ },
  });
  await assertSound(t, migration, result);
});
