import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { OwnershipJournal } from '../../agent/journal/ownership-journal.js';
import type { PageSink, TargetControl } from '../../agent/link/link.js';
import { hashHex } from '../../agent/guest/page-hash.js';
import type { TargetContext } from '../../agent/target/target-context.js';
import { TargetSession } from '../../agent/target/target-session.js';
import { MigrationError } from '../../shared/errors.js';
import { encodeTargetMessage } from '../../shared/protocol/control-codec.js';
import { MAX_TEXT_LENGTH, type SourceMessage, type TargetMessage } from '../../shared/protocol/messages.js';
import { ArrayGuest, definitionOf } from '../support/array-guest.js';
import { VirtualTimers } from '../support/link-virtual-timers.js';
import { failingDisk } from '../support/synced-directories.js';

const ID = 'm-00000001';

/** A session of its own, and what it says. */
async function session(t: Test, overrides: Partial<TargetContext> = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-session-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const said: TargetMessage[] = [];
  let wake: () => void = () => undefined;
  const control: TargetControl = {
    send(message) {
      // whatever is said must be a valid message
      encodeTargetMessage(message);
      said.push(message);
      wake();
      return Promise.resolve();
    },
    onMessage: () => () => undefined,
    onClose: () => undefined,
    close: () => undefined,
  };
  const guest = new ArrayGuest('web', 8);
  guest.state = 'paused';
  const streams: { sink: PageSink | null } = { sink: null };
  const target = new TargetSession({
    migration: ID,
    peer: 'a',
    control,
    host: {
      preflight: () => Promise.resolve([]),
      create: () => Promise.resolve({ regions: guest.regions, machine: Promise.resolve(guest) }),
      stageImage: () => Promise.resolve(),
      adopt: () => undefined,
      discard: () => Promise.resolve(),
    },
    journal: await OwnershipJournal.open(directory),
    inTurn: (_signal, look) => look(),
    openStreams: ({ sink }) => {
      streams.sink = sink;
      return Promise.resolve({ transport: 'websocket', token: 'token', finding: null });
    },
    sealStreams: () => Promise.resolve(),
    closeStreams: () => undefined,
    agentEnds: new AbortController().signal,
    now: () => 0,
    onState: () => undefined,
    onWarning: () => undefined,
    ...overrides,
  });
  async function hear<T extends TargetMessage['type']>(
    type: T,
  ): Promise<Extract<TargetMessage, { type: T }>> {
    for (;;) {
      const at = said.findIndex((message) => message.type === type);
      if (at >= 0) return said.splice(at, 1)[0] as never;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  }
  return { target, guest, said, hear, directory, sink: () => streams.sink! };
}

const prepare = (verify: 'off' | 'after' | 'strict'): SourceMessage => ({
  type: 'prepare',
  definition: definitionOf('web'),
  imageBytes: 0,
  regions: [{ name: 'ram0', bytes: 8 * 4096 }],
  traits: {},
  streams: 1,
  verify,
  dryRun: false,
});
const question = (pageCount: number): SourceMessage => ({
  ...{ type: 'verify-request', region: 0, firstPage: 0, pageCount },
});
const state = new Uint8Array([1, 2, 3]);

type Run = Awaited<ReturnType<typeof session>>;

/** Brings the guest to the commit. */
async function moved(run: Run, verify: 'off' | 'after') {
  await ready(run, verify);
  run.target.receive({ type: 'commit' });
  return await run.hear('running');
}

async function ready({ target, hear, sink }: Run, verify: 'off' | 'after') {
  target.receive(prepare(verify));
  await hear('prepared');
  sink().blob(0, 'device-state', 0, state);
  sink().roundEnd(0, 0);
  target.receive({ type: 'finalize', round: 0, stateDigest: hashHex(state), pagesSent: 0, resume: true });
  await hear('ready');
}

void t.test('hashes are asked for one piece at a time', async (t) => {
  const { target, hear, said } = await session(t);
  target.receive(prepare('strict'));
  await hear('prepared');
  for (let times = 0; times < 3; times += 1) {
    target.receive(question(1));
    await hear('verify-hashes');
  }
  for (let times = 0; times < 5; times += 1) target.receive(question(1));
  t.match(await hear('error'), {
    code: 'unexpected-message',
    message: /before the one before it was answered/,
  });
  await target.settled;
  t.ok(said.filter(({ type }) => type === 'verify-hashes').length <= 1);
});

void t.test('hashes of a guest that runs here, too; and what it was made of is let go', async (t) => {
  const run = await session(t);
  t.match(await moved(run, 'after'), { failure: null });
  run.target.receive(question(4));
  t.equal((await run.hear('verify-hashes')).hashes.length, 4 * 8);
  for (let times = 0; times < 4; times += 1) run.target.receive(question(1));
  await run.hear('verify-hashes');
  t.match(await run.hear('error'), { code: 'unexpected-message' });
  t.throws(() => run.target.receive(question(1)), {
    code: 'limit-exceeded',
    message: /hashes of 9 pages were asked for, and the guest has 8/,
  });
  t.equal(run.target.state.name, 'running', 'the guest is none the worse for it');
});

void t.test('a guest that is committed and can not be resumed: the source is told why', async (t) => {
  const run = await session(t);
  run.guest.failing.add('resume');
  t.match(await moved(run, 'off'), { failure: /resume/ });
  t.equal(run.target.state.name, 'running', 'which does not undo the commit');
});

void t.test('a commit that may be on record, though it could not be recorded', async (t) => {
  const uncertain = async (t: Test) => {
    const timers = new VirtualTimers();
    const agentEnds = new AbortController();
    const warnings: string[] = [];
    let discarded = false;
    let warned!: () => void;
    const warning = new Promise<void>((resolve) => (warned = resolve));
    const run = await session(t, {
      timers,
      agentEnds: agentEnds.signal,
      host: {
        preflight: () => Promise.resolve([]),
        create: () => Promise.resolve({ regions: run.guest.regions, machine: Promise.resolve(run.guest) }),
        stageImage: () => Promise.resolve(),
        adopt: () => t.fail("it is not this node's"),
        discard: () => Promise.resolve(void (discarded = true)),
      },
      onWarning: (message, error) => {
        warnings.push(`${message}: ${(error as Error).message}`);
        warned();
      },
    });
    await ready(run, 'off');
    await run.hear('round-ack');
    const disk = failingDisk(t, run.directory);
    disk.syncs = Infinity;
    disk.remove = true;
    run.target.receive({ type: 'commit' });
    await warning;
    const restarted = async () => {
      disk.syncs = 0;
      return (await OwnershipJournal.open(run.directory)).get(ID)?.decision;
    };
    /** Resolves once a try has failed and the next is waited for. */
    const tried = async () => {
      while (timers.pending === 0) await new Promise((resolve) => setImmediate(resolve));
    };
    return { ...run, timers, tried, agentEnds, warnings, disk, restarted, discarded: () => discarded };
  };

  await t.test('the source hears of the abort once it is certain', async (t) => {
    const run = await uncertain(t);
    for (let second = 0; second < 3; second += 1) {
      await run.tried();
      await run.timers.advance(1000);
      run.target.fail(new MigrationError('link-lost', 'the connection ended'));
      t.equal(run.target.state.name, 'recording-commit');
    }
    t.strictSame(run.said, []);
    t.notOk(run.discarded());
    t.equal(run.warnings.length, 1);
    t.match(run.warnings[0], /uncertain.*m-00000001\.json.*EIO.*mend/);
    await run.tried();
    run.disk.syncs = 0;
    await run.timers.advance(1000);
    t.match(await run.hear('error'), { code: 'internal', message: /m-00000001\.json/ });
    await run.target.settled;
    t.equal(run.target.state.name, 'aborted');
    t.ok(run.discarded());
    t.equal(run.warnings.length, 1);
    t.equal(await run.restarted(), 'aborted');
  });

  await t.test('the agent ends before: nothing is said, and the copy stays for its next run', async (t) => {
    const run = await uncertain(t);
    run.agentEnds.abort();
    await run.target.settled;
    t.equal(run.timers.pending, 0);
    t.strictSame(run.said, []);
    t.notOk(run.discarded());
    t.equal(await run.restarted(), 'committed');
  });
});

void t.test('texts that are too long are cut, and what they belong to is said', async (t) => {
  const long = 'x'.repeat(5000);
  const overrides: Partial<TargetContext> = {
    host: {
      preflight: () => Promise.resolve([{ level: 'refusal', code: 'target-has-guest', message: long }]),
      create: () => Promise.reject(new MigrationError('guest-failed', long)),
      stageImage: () => Promise.resolve(),
      adopt: () => undefined,
      discard: () => Promise.resolve(),
    },
  };
  const asked = await session(t, overrides);
  asked.target.receive({ ...prepare('off'), dryRun: true } as SourceMessage);
  t.equal((await asked.hear('prepared')).findings[0]?.message.length, MAX_TEXT_LENGTH);
  const failed = await session(t, overrides);
  failed.target.receive(prepare('off'));
  t.equal((await failed.hear('error')).message.length, MAX_TEXT_LENGTH);
});

void t.test('a listener that fails does not make the session deaf', async (t) => {
  let failing = true;
  const fail = () => {
    if (failing) throw new Error('a test');
  };
  const { target, hear } = await session(t, { onState: fail, onWarning: fail });
  t.throws(() => target.receive(prepare('off')), /a test/);
  failing = false;
  target.fail(new MigrationError('link-lost', 'the connection ended'));
  t.match(await hear('error'), { code: 'link-lost' });
  await target.settled;
  t.equal(target.state.name, 'aborted');
});

void t.test(
  'what was found against it since the dry run refuses the migration, with its remedy',
  async (t) => {
    const full = {
      level: 'refusal',
      code: 'tap-busy',
      message: 'tap0 is in use',
      remedy: 'free it',
    } as const;
    const run = await session(t, {
      host: {
        preflight: () => Promise.resolve([full]),
        create: () => Promise.reject(new Error('it must not come to that')),
        stageImage: () => Promise.resolve(),
        adopt: () => undefined,
        discard: () => Promise.resolve(),
      },
    });
    run.target.receive(prepare('off'));
    t.match(await run.hear('error'), { code: 'preflight-refused', message: 'tap0 is in use: free it' });
  },
);
