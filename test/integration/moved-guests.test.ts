import { once } from 'node:events';
import t from 'tap';
import { EmbeddedGuest } from '../../agent/guest/embedded/embedded-guest.js';
import { embeddedKind } from '../../agent/guest/embedded/embedded-kind.js';
import type { GuestKind, GuestKinds, HostedGuest } from '../../agent/guest/hosted-guest.js';
import type { EmbeddedDefinition } from '../../shared/guest-definition.js';
import { hashHex } from '../../agent/guest/page-hash.js';
import { AgentLab, definitionOf, vmferry } from '../support/agent-lab.js';
import { Cluster } from '../support/cluster.js';
import { echoImage } from '../support/echo-program.js';

/** What moved must end as what never moved. */

const MOVES = 5;

/** One round before the switchover: the guest is to be met in the middle of its computation at each of the moves. */
const QUICK = { maxRounds: 1, maxDowntimeMs: 5 };

const INSTRUCTIONS_PER_STEP = 20;

/**
 * How long a guest is to be busy, so that all moves fall into it. Other work on the host can make the moves slow and the
 * guest fast; then the same is tried with a guest that is busy for longer. s
 */
const BUSY_SECONDS = [8, 24, 72];

function computation(steps: number) {
  return { name: 'traveller', memory: 4 * 2 ** 20, program: 'checksum', parameters: { steps } } as const;
}

interface Ending {
  transcript: string;
  exitCode: number | null;
  retiredInstructions: number;
  registers: unknown;
  memoryHash: string;
}

async function endingOf(guest: EmbeddedGuest): Promise<Ending> {
  return {
    transcript: Buffer.from(guest.readConsole(0)).toString('latin1'),
    exitCode: guest.exitCode,
    retiredInstructions: guest.retiredInstructions(),
    registers: await guest.registers(),
    memoryHash: hashHex(guest.regions[0]!.memory),
  };
}

/** Resolves when the guest has stopped by itself. */
async function stopped(guest: HostedGuest): Promise<void> {
  await new Promise<void>((resolve) => {
    const look = () => guest.state !== 'running' && resolve();
    guest.onChange(look);
    look();
  });
}

const endings = new Map<string, Promise<Ending>>();

/** The ending of a guest that never moves; it is the same each time. */
async function stay(definition: Parameters<typeof definitionOf>[0]): Promise<Ending> {
  const key = JSON.stringify(definition);
  const ending = endings.get(key) ?? runInPlace(definition);
  endings.set(key, ending);
  return await ending;
}

async function runInPlace(definition: Parameters<typeof definitionOf>[0]): Promise<Ending> {
  const guest = await EmbeddedGuest.boot(definitionOf(definition));
  try {
    await guest.resume();
    await stopped(guest);
    return await endingOf(guest);
  } finally {
    await guest.destroy();
  }
}

/** Kinds of guests that show the latest guest that was made of each definition. */
function watchedKinds() {
  const latest = new Map<string, EmbeddedGuest>();
  const watch = async (making: Promise<HostedGuest>) => {
    const guest = (await making) as EmbeddedGuest;
    latest.set(guest.definition.name, guest);
    return guest;
  };
  const embedded: GuestKind<EmbeddedDefinition> = {
    ...embeddedKind,
    boot: (definition, image) => watch(embeddedKind.boot(definition, image)),
    async incoming(definition, migration) {
      const incoming = await embeddedKind.incoming(definition, migration);
      return { ...incoming, machine: watch(incoming.machine) };
    },
  };
  // Whatever it is asked for, this cluster has guests of one kind.
  const kinds: GuestKinds = { embedded, qemu: embedded as GuestKind };
  return { kinds, latest };
}

/** Instructions that the machine executes here in a second. */
async function instructionsPerSecond(): Promise<number> {
  const startedAt = performance.now();
  const { retiredInstructions } = await stay(computation(1_000_000));
  return Math.ceil((retiredInstructions / (performance.now() - startedAt)) * 1000);
}

const speed = await instructionsPerSecond();
const computing = (seconds: number) => computation(Math.ceil((speed * seconds) / INSTRUCTIONS_PER_STEP));
const writing = (seconds: number) =>
  ({
    name: 'writer',
    memory: 4 * 2 ** 20,
    program: 'dirty',
    parameters: { workingSetPages: 700, pagesPerSecond: 0 },
    stopAtInstruction: speed * seconds,
  }) as const;

/** Calls `move` as often as is wanted, each time with the guest running; false if it ended before the last. */
async function moveWhileRunning(
  isRunning: () => Promise<boolean>,
  move: (n: number) => Promise<void>,
): Promise<boolean> {
  for (let n = 1; n <= MOVES; n += 1) {
    if (!(await isRunning())) return false;
    await move(n);
  }
  return true;
}

await t.test('a computation that moves between two processes ends as one that stays', async (t) => {
  const lab = await AgentLab.start(t, ['a', 'b']);
  let [here, there] = ['a', 'b'];
  const isRunning = async () => (await lab.client(here).guest('traveller')).status === 'running';
  const move = async (n: number) => {
    const verify = n === 1 ? 'strict' : n === 2 ? 'after' : 'off';
    const result = await lab.migrate('traveller', here, there, { ...QUICK, verify });
    t.match(result, { outcome: 'completed', error: null, verify: { mode: verify, mismatches: 0 } });
    t.equal(result.verify.pagesChecked, verify === 'off' ? 0 : 1024);
    [here, there] = [there, here];
  };
  let moved = false;
  for (const seconds of BUSY_SECONDS) {
    const definition = computing(seconds);
    await lab.boot(here, definition);
    moved = await moveWhileRunning(isRunning, move);
    const transcript = await lab.transcript(here, 'traveller');
    const { status, machine } = await lab.client(here).guest('traveller');
    // Not at the same time as the guest that moves: it would take the time of that one.
    const { exitCode, retiredInstructions, transcript: expected } = await stay(definition);
    t.match(expected, /^checksum\n.*digest [0-9a-f]{8}\n$/s);
    t.equal(transcript, expected);
    t.equal(status, 'finished');
    t.match(machine, { exitCode, retiredInstructions });
    t.equal(exitCode, 0);
    t.strictSame(await lab.whereIs('traveller'), { [here]: 'finished' });
    if (moved) break;
    await lab.client(here).changeGuest('traveller', 'stop');
    await lab.client(here).undefineGuest('traveller');
  }
  t.ok(moved, `it computed before each of ${MOVES} moves`);
});

await t.test('its registers and memory too', async (t) => {
  const { kinds, latest } = watchedKinds();
  const cluster = await Cluster.start(['a', 'b'], {}, kinds);
  t.teardown(() => cluster.close());
  for (const make of [computing, writing]) {
    const { name } = make(1);
    let [here, there] = ['a', 'b'];
    const isRunning = () => Promise.resolve(cluster.service(here).guest(name).status === 'running');
    const move = async () => {
      t.match(await cluster.migrate(name, here, there, QUICK), { outcome: 'completed', error: null });
      [here, there] = [there, here];
    };
    let moved = false;
    for (const seconds of BUSY_SECONDS) {
      const definition = make(seconds);
      await cluster.boot(here, definition);
      moved = await moveWhileRunning(isRunning, move);
      await stopped(latest.get(name)!);
      const ending = await stay(definition);
      t.strictSame(await endingOf(latest.get(name)!), ending);
      if ('stopAtInstruction' in definition) {
        t.equal(ending.retiredInstructions, definition.stopAtInstruction, 'paused exactly there');
        t.match(await cluster.migrate(name, here, there), { outcome: 'completed' });
        [here, there] = [there, here];
        t.strictSame(cluster.whereIs(name), [{ node: here, status: 'paused' }], 'and paused after a move');
        t.strictSame(await endingOf(latest.get(name)!), ending);
      }
      if (moved) break;
      await cluster.service(here).stopGuest(name);
      await cluster.service(here).undefineGuest(name);
    }
    t.ok(moved, `it ran before each of ${MOVES} moves`);
  }
});

await t.test('a user image travels along; its console takes input after the move', async (t) => {
  const lab = await AgentLab.start(t, ['a', 'b']);
  const [a, b] = [lab.client('a'), lab.client('b')];
  await lab.boot('a', { name: 'echo', program: 'image' }, echoImage('who is there?\n'));
  await a.sendConsoleInput('echo', Buffer.from('one '));
  await lab.console('a', 'echo', /one /);
  t.match(await lab.migrate('echo', 'a', 'b', { verify: 'strict' }), { outcome: 'completed' });

  // every byte, also those that are no UTF-8
  await b.sendConsoleInput('echo', Buffer.from('two \xff\xc3\x80 end', 'latin1'));
  t.equal(await lab.console('b', 'echo', /end/), 'who is there?\none two \xff\xc3\x80 end');

  await b.changeGuest('echo', 'stop');
  await b.changeGuest('echo', 'start');
  t.equal(await lab.console('b', 'echo', /there/), 'who is there?\n', 'booted again from its image');
  await lab.agent('b').stop();
  await lab.restart('b');
  await b.changeGuest('echo', 'start');
  t.equal(await lab.console('b', 'echo', /there/), 'who is there?\n', 'which a restarted agent still has');
  t.strictSame(await lab.whereIs('echo'), { b: 'running' });
});

await t.test('the console is followed from node to node without gap or repetition', async (t) => {
  const lab = await AgentLab.start(t, ['a', 'b']);
  const ticks = 200;
  await lab.boot('a', { name: 'clock', program: 'ticker', parameters: { intervalMs: 10, ticks } });
  await lab.console('a', 'clock', /tick 1\n/);
  // It waits for the command, which takes its time to start.
  await lab.client('a').changeGuest('clock', 'pause');
  const console = vmferry(lab.agent('a').url, ['vm', 'console', 'clock', '--no-input']);
  t.teardown(() => void console.child.kill());
  await once(console.child.stdout, 'readable');
  await lab.client('a').changeGuest('clock', 'resume');
  let [here, there] = ['a', 'b'];
  for (let moves = 0; moves < 4; moves += 1) {
    t.match(await lab.migrate('clock', here, there, QUICK), { outcome: 'completed' });
    [here, there] = [there, here];
  }
  const { exitCode, stdout, stderr } = await console.ended;
  t.equal(stdout, Array.from({ length: ticks }, (_, index) => `tick ${index + 1}\n`).join(''));
  t.equal(exitCode, 0);
  t.match(stderr, /clock moved to b; its console goes on there\n.*clock has finished/s);
});
