import { existsSync } from 'node:fs';
import { test } from 'tap';
import type { HostedGuest } from '../../../agent/guest/hosted-guest.js';
import type { QemuGuest } from '../../../agent/guest/qemu/qemu-guest.js';
import { hashHex } from '../../../agent/guest/page-hash.js';
import { MigrationError } from '../../../shared/errors.js';
import { arriving, savedState } from '../../support/array-guest.js';
import { copyMemory, firstBreak, move, printsMore, QemuPair, transcript } from './qemu-pair.js';

/** For a state that nobody needs. */
const unsent = () => undefined;

/** The next change that leaves a guest as `wanted` says. */
function change(guest: HostedGuest, wanted: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const stop = guest.onChange(() => {
      if (!wanted()) return;
      stop();
      resolve();
    });
  });
}

const memoryHash = (guest: HostedGuest) => guest.regions.map(({ memory }) => hashHex(memory));

void test('boots paused, runs, pauses, and leaves nothing behind', async (t) => {
  const pair = new QemuPair(t);
  const guest = await pair.boot();
  t.equal(guest.state, 'paused');
  t.match(guest.definition, { machine: /^pc-q35-\d/, accel: 'tcg' }, 'what was left open is chosen');
  t.match(guest.figures(), { pid: Number, residentBytes: Number, accel: 'tcg' });
  t.same(
    guest.regions.map(({ name, memory }) => [name, memory.length]),
    pair.source.regions(guest.definition).map(({ name, bytes }) => [name, bytes]),
  );
  const resumedAt = await guest.resume();
  t.equal(guest.state, 'running');
  t.equal(await guest.resume(), resumedAt, 'harmless when running');
  await printsMore(guest);
  await guest.pause();
  t.equal(guest.state, 'paused');
  const { end } = guest.console;
  const memory = memoryHash(guest);
  await guest.pause();
  t.same([guest.console.end, memoryHash(guest)], [end, memory], 'it stands still');
  t.ok((await guest.resume()) > resumedAt);
  await printsMore(guest);
  t.equal(firstBreak(transcript(guest)), -1);
  t.ok(pair.remains().length >= 3);
  await guest.destroy();
  await guest.destroy();
  t.same(pair.remains(), []);
});

void test('moves there and back while it prints', async (t) => {
  const pair = new QemuPair(t);
  let from = await pair.boot();
  await from.resume();
  await printsMore(from);
  let printed = '';
  for (const round of [1, 2, 3]) {
    const kind = round % 2 === 1 ? pair.target : pair.source;
    const to = await pair.incomingTo(kind, from.definition, `migration-${round}`);
    const state: Uint8Array[] = [];
    const stoppedAt = await from.pauseForSwitchover((piece) => state.push(piece));
    t.equal(from.state, 'paused');
    await from.saveState();
    await copyMemory(from, to);
    t.same(memoryHash(to), memoryHash(from));
    await to.loadState(arriving(state));
    t.equal(to.state, 'paused');
    t.equal(to.console.end, from.console.end, 'the transcript goes on');
    await to.own();
    printed += transcript(from).slice(printed.length - from.console.start);
    t.ok((await to.resume()) >= stoppedAt);
    t.equal(to.state, 'running');
    await printsMore(to);
    await from.destroy();
    from = to;
  }
  await from.pause();
  printed += transcript(from).slice(printed.length - from.console.start);
  t.equal(printed.length, from.console.end);
  t.equal(firstBreak(printed), -1, 'no letter is lost or repeated');
});

void test('a migration that is given up leaves the guest as it was', async (t) => {
  const pair = new QemuPair(t);
  const guest = await pair.boot();
  await guest.settle();
  t.equal(guest.state, 'paused', 'nothing to take back');
  await guest.resume();

  await t.test('before its state is saved', async (t) => {
    await guest.pauseForSwitchover(unsent);
    await guest.settle();
    t.equal(guest.state, 'running');
    await printsMore(guest);
  });

  await t.test('after its state is saved', async (t) => {
    await guest.pauseForSwitchover(unsent);
    await guest.saveState();
    await guest.settle();
    t.equal(guest.state, 'running');
    await printsMore(guest);
  });

  await t.test('by resuming it', async (t) => {
    const pausedAt = await guest.pauseForSwitchover(unsent);
    t.ok((await guest.resume()) >= pausedAt);
    await printsMore(guest);
  });

  await t.test('one that is paused stays so, and can be moved later', async (t) => {
    await guest.pause();
    for (const saved of [false, true]) {
      await guest.pauseForSwitchover(unsent);
      if (saved) await guest.saveState();
      await guest.settle();
      t.equal(guest.state, 'paused');
    }
    const target = await pair.incoming(guest);
    await move(guest, target);
    t.equal(target.state, 'paused');
    await target.settle();
    t.equal(target.state, 'paused');
    await target.resume();
    await printsMore(target);
    t.equal(firstBreak(transcript(target)), -1);
  });
});

void test('a paused guest with a disk moves twice without having run', async (t) => {
  const pair = new QemuPair(t);
  const disk = `${t.testdir({ 'disk.raw': '\0'.repeat(1 << 20) })}/disk.raw`;
  const first = await pair.boot({ disks: [{ file: disk }] });
  const second = await pair.incoming(first);
  await move(first, second);
  await first.destroy();
  const third = await pair.incomingTo(pair.source, second.definition, 'migration-2');
  await move(second, third);
  await second.destroy();
  await third.resume();
  await printsMore(third);
});

void test('a guest with several memory objects and processors moves', async (t) => {
  const pair = new QemuPair(t);
  const fields = { memoryObjects: [{ size: '8MiB' }, { size: '8MiB' }], cpus: 2 };
  const source = await pair.boot(fields);
  t.same(
    source.regions.map(({ name, memory }) => [name, memory.length]),
    [
      ['ram0', 8 * 2 ** 20],
      ['ram1', 8 * 2 ** 20],
    ],
  );
  await source.resume();
  await printsMore(source);
  const target = await pair.incoming(source);
  await move(source, target);
  t.same(memoryHash(target), memoryHash(source));
  await target.resume();
  await printsMore(target);
});

void test('a guest that is ended is no failure', async (t) => {
  const pair = new QemuPair(t);
  const guest = await pair.boot();
  await guest.resume();
  let changes = 0;
  guest.onChange(() => (changes += 1));
  await guest.destroy();
  t.same([guest.failure, changes], [null, 0]);
});

void test('a guest that panics is finished, and stays so when it moves', async (t) => {
  const pair = new QemuPair(t);
  const guest = await pair.boot();
  await guest.resume();
  await printsMore(guest);
  const finished = change(guest, () => guest.state === 'finished');
  await guest.console.input(Buffer.from('p'));
  await finished;
  await guest.resume();
  t.equal(guest.state, 'finished', 'it can not go on');

  const target = await pair.incoming(guest);
  await move(guest, target);
  t.equal(target.state, 'finished');
  await target.resume();
  t.equal(target.state, 'finished');
  t.equal(target.console.end, guest.console.end);
});

void test('a QEMU that ends by itself is a failure of the guest', async (t) => {
  const pair = new QemuPair(t);
  const guest = await pair.boot();
  await guest.resume();
  const failed = change(guest, () => guest.failure !== null);
  process.kill(guest.pid, 'SIGKILL');
  await failed;
  t.match(guest.failure, {
    code: 'guest-failed',
    message: /^QEMU of VM web-\d+ \(pid \d+\) was ended by SIGKILL$/,
  });
  t.equal(guest.state, 'paused');
  await t.rejects(guest.pauseForSwitchover(unsent), { message: guest.failure!.message });
});

void test('a QEMU that is killed fails what is under way at once, and says how it ended', async (t) => {
  const ended = { code: 'guest-failed', message: /was ended by SIGKILL/ };
  const steps: {
    name: string;
    before: (guest: HostedGuest) => Promise<unknown>;
    step: (guest: HostedGuest) => Promise<unknown>;
  }[] = [
    { name: 'pause', before: (guest) => guest.resume(), step: (guest) => guest.pause() },
    { name: 'resume', before: () => Promise.resolve(), step: (guest) => guest.resume() },
    {
      name: 'pauseForSwitchover',
      before: (guest) => guest.resume(),
      step: (guest) => guest.pauseForSwitchover(unsent),
    },
    {
      name: 'saveState',
      before: (guest) => guest.pauseForSwitchover(unsent),
      step: (guest) => guest.saveState(),
    },
    { name: 'settle', before: (guest) => guest.pauseForSwitchover(unsent), step: (guest) => guest.settle() },
  ];
  for (const { name, before, step } of steps) {
    await t.test(name, async (t) => {
      const guest = await new QemuPair(t).boot();
      await before(guest);
      // It can't answer any more, and is dead before what it is asked could time out.
      process.kill(guest.pid, 'SIGSTOP');
      const result = step(guest);
      process.kill(guest.pid, 'SIGKILL');
      await t.rejects(result, ended);
      await guest.destroy();
    });
  }
  await t.test('loadState', async (t) => {
    const pair = new QemuPair(t);
    const guest = await pair.boot();
    const target = await pair.incoming(guest);
    const state = await savedState(guest);
    process.kill(target.pid, 'SIGSTOP');
    const loading = target.loadState(arriving(state));
    process.kill(target.pid, 'SIGKILL');
    await t.rejects(loading, { code: 'load-failed', message: /was ended by SIGKILL/ });
    await guest.settle();
    t.equal(guest.state, 'paused');
  });
});

void test('a state that is none', async (t) => {
  const pair = new QemuPair(t);
  const guest = await pair.boot();
  const [header, stream, ...rest] = await savedState(guest);
  const cut = (await pair.incoming(guest)).loadState(arriving([header!.subarray(1), stream!, ...rest]));
  await t.rejects(cut, { code: 'load-failed', message: /does not begin as one/ });
  const other = { ...guest.definition, name: `web-${process.pid}-2` };
  const damaged = await pair.incomingTo(pair.target, other, 'migration-2');
  const SECTION_HEADER_BYTES = 8;
  const wrong = Uint8Array.from(stream!).fill(0x5a, SECTION_HEADER_BYTES);
  await t.rejects(damaged.loadState(arriving([header!, wrong, ...rest])), {
    code: 'load-failed',
    message: /could not load the state of the guest's devices: /,
  });
});

void test('a state that is loaded while it arrives', async (t) => {
  const pair = new QemuPair(t);
  const guest = await pair.boot();
  await guest.resume();
  await printsMore(guest);
  const pieces = await savedState(guest);
  t.ok(pieces.length > 2, 'it comes in pieces');
  // The header and some of QEMU's stream, of which QEMU waits for the rest.
  const early = pieces.slice(0, 2);
  const rest = pieces.slice(2);
  const other = (number: number) => ({ ...guest.definition, name: `web-${process.pid}-${number}` });

  await t.test('breaks off, with a reason or without', async (t) => {
    const target = await pair.incomingTo(pair.target, other(1), 'migration-1');
    const lost = new MigrationError('link-lost', 'a test');
    const loading = target.loadState(arriving(early, lost));
    await t.rejects(loading, { code: 'load-failed', message: /devices: a test/ });
    t.equal(target.state, 'paused');
    const cut = await pair.incomingTo(pair.target, other(2), 'migration-2');
    await t.rejects(cut.loadState(arriving(early)), { code: 'load-failed', message: /breaks off/ });
    t.equal(cut.state, 'paused');
  });

  await t.test('and whose QEMU is killed meanwhile', async (t) => {
    const target = await pair.incomingTo(pair.target, other(3), 'migration-3');
    const killed = (async function* () {
      yield* early;
      process.kill(target.pid, 'SIGKILL');
      await new Promise(() => undefined);
    })();
    await t.rejects(target.loadState(killed), { code: 'load-failed', message: /was ended by SIGKILL/ });
  });

  await t.test('and whose end is late, or is found to be wrong', async (t) => {
    for (const failure of [undefined, new MigrationError('load-failed', 'it arrived damaged')]) {
      const target = await pair.incomingTo(pair.target, other(failure ? 4 : 5), 'migration-4');
      await copyMemory(guest, target);
      const loading = target.loadState(arriving([...early, ...rest], failure));
      if (failure) await t.rejects(loading, failure, 'though QEMU has loaded all of it');
      else await loading;
      t.equal(target.state, 'paused', 'nothing runs before the commit');
    }
  });
});

void test('memory that comes while QEMU starts stays as it came', async (t) => {
  for (const fields of [{}, { machine: 'pc' }, { memoryObjects: [{ size: '8MiB' }, { size: '8MiB' }] }]) {
    const pair = new QemuPair(t);
    const incoming = await pair.target.incoming(pair.definition(fields), 'migration-1');
    for (const { memory } of incoming.regions) memory.fill(0x5a);
    const guest = pair.keep(await incoming.machine);
    t.same(
      guest.regions.map(({ memory }) => memory.findIndex((byte) => byte !== 0x5a)),
      guest.regions.map(() => -1),
      JSON.stringify(fields),
    );
    await guest.destroy();
  }
});

void test('a guest that is given up while its QEMU starts leaves nothing', async (t) => {
  const pair = new QemuPair(t);
  const incoming = await pair.target.incoming(pair.definition(), 'migration-1');
  await incoming.destroy();
  t.same(pair.remains(), []);
  await incoming.destroy();
  const guest = await incoming.machine;
  t.equal(guest.failure, null);
});

void test('an incoming guest whose QEMU does not start has memory, and then an error', async (t) => {
  const pair = new QemuPair(t);
  const definition = pair.definition({ boot: { kernel: '/nowhere/vmlinuz' } });
  const incoming = await pair.target.incoming(definition, 'migration-1');
  t.ok(incoming.regions[0]!.memory.length > 0);
  await t.rejects(incoming.machine, { code: 'guest-failed', message: /\/nowhere\/vmlinuz/ });
  t.same(pair.remains(), []);
  incoming.regions[0]!.write?.(0, new Uint8Array(4096));
  await incoming.destroy();
});

void test('a guest that can not be started leaves nothing and says why', async (t) => {
  const pair = new QemuPair(t);
  await t.rejects(pair.boot({ boot: { kernel: '/nowhere/vmlinuz' } }), {
    code: 'guest-failed',
    message: /ended with exit code 1 before it was ready: .*\/nowhere\/vmlinuz/s,
  });
  t.same(pair.remains(), []);
  await t.rejects(pair.boot({ machine: 'no-such-board' }), { message: /unsupported machine type/ });
  t.same(pair.remains(), []);
  const guest = await pair.boot();
  await t.rejects(pair.boot(), { message: /runs here already \(pid \d+\)/ }, 'one of that name runs');
  t.ok(existsSync(pair.runDirectory('source')), 'and is not touched');
  await guest.resume();
  await printsMore(guest);
});

void test('a guest whose QEMU can not be talked to any more runs on, and says so', async (t) => {
  const pair = new QemuPair(t);
  const guest = await pair.boot();
  await guest.resume();
  const failed = change(guest, () => guest.failure !== null);
  guest.qmp.close();
  await failed;
  t.equal(guest.state, 'running');
  t.match(guest.failure?.message, /lives on as it was and can't be talked to: .*restart the agent/);
  await printsMore(guest);
});

/** Of what a migration of ours needs, that which would spoil another. */
async function capabilitiesOn(guest: QemuGuest): Promise<string[]> {
  const all = (await guest.qmp.execute('query-migrate-capabilities')) as Capability[];
  return all.flatMap(({ capability, state }) => (state && capability !== 'events' ? [capability] : []));
}

interface Capability {
  readonly capability: string;
  readonly state: boolean;
}

void test('a migration that ends early leaves QEMU fit for others', async (t) => {
  const pair = new QemuPair(t);
  const guest = await pair.boot();
  await guest.resume();
  await guest.pauseForSwitchover(unsent);
  t.same((await capabilitiesOn(guest)).sort(), ['pause-before-switchover', 'x-ignore-shared']);
  await guest.settle();
  t.same(await capabilitiesOn(guest), [], 'cancelled');

  await guest.pauseForSwitchover(unsent);
  await guest.saveState();
  await guest.settle();
  t.same(await capabilitiesOn(guest), [], 'given up after it was saved');

  await guest.pauseForSwitchover(unsent);
  const cancelled = guest.qmp.nextEvent(({ data }) => data.status === 'cancelled');
  await guest.qmp.execute('migrate_cancel');
  await cancelled;
  await t.rejects(guest.saveState(), { code: 'guest-failed' });
  t.same(await capabilitiesOn(guest), [], 'failed');
});
