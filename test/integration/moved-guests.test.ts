import { once } from 'node:events';
import t from 'tap';
import { EmbeddedGuest } from '../../agent/guest/embedded/embedded-guest.js';
import { GUEST_KINDS } from '../../agent/guest/guest-kinds.js';
import type { GuestKinds, HostedGuest } from '../../agent/guest/hosted-guest.js';
import { hashHex } from '../../agent/guest/page-hash.js';
import { AgentLab, definitionOf, vmferry } from '../support/agent-lab.js';
import { Cluster } from '../support/cluster.js';
import { echoImage } from '../support/echo-program.js';

/** What moved must end as what never moved. */

const MOVES = 5;

/** One round before the switchover: the guest is to be met in the middle of its computation at each of the moves. */
const QUICK = { maxRounds: 1, maxDowntimeMs: 5 };

const INSTRUCTIONS_PER_STEP = 20;

/** How long a computation is to take, so that all moves fall into it on a fast host as on a slow one. s */
const COMPUTING_SECONDS = 8;

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

/** The ending of a guest that never moves. */
async function stay(definition: Parameters<typeof definitionOf>[0]): Promise<Ending> {
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
  const { embedded } = GUEST_KINDS;
  const kinds: GuestKinds = {
    embedded: {
      ...embedded,
      boot: (definition, image) => watch(embedded.boot(definition, image)),
      incoming: (definition) => watch(embedded.incoming(definition)),
    },
  };
  return { kinds, latest };
}

/** Instructions that the machine executes here in COMPUTING_SECONDS. */
async function instructionsToBeBusy(): Promise<number> {
  const startedAt = performance.now();
  const { retiredInstructions } = await stay(computation(1_000_000));
  return Math.ceil((retiredInstructions / (performance.now() - startedAt)) * 1000 * COMPUTING_SECONDS);
}

const instructions = await instructionsToBeBusy();
const COMPUTATION = computation(Math.ceil(instructions / INSTRUCTIONS_PER_STEP));
const WRITER = {
  name: 'writer',
  memory: 4 * 2 ** 20,
  program: 'dirty',
  parameters: { workingSetPages: 700, pagesPerSecond: 0 },
  stopAtInstruction: instructions,
} as const;
/** Not at the same time as the guests that move: it would take the time of theirs. */
let stayed: Promise<Ending> | undefined;
const stayedComputation = () => (stayed ??= stay(COMPUTATION));

await t.test('a computation that moves between two processes ends as one that stays', async (t) => {
  const lab = await AgentLab.start(t, ['a', 'b']);
  await lab.boot('a', COMPUTATION);
  let [here, there] = ['a', 'b'];
  for (let move = 1; move <= MOVES; move += 1) {
    t.equal((await lab.client(here).guest('traveller')).status, 'running', `computing before move ${move}`);
    const verify = move === 1 ? 'strict' : move === 2 ? 'after' : 'off';
    const result = await lab.migrate('traveller', here, there, { ...QUICK, verify });
    t.match(result, { outcome: 'completed', error: null, verify: { mode: verify, mismatches: 0 } });
    t.equal(result.verify.pagesChecked, verify === 'off' ? 0 : 1024);
    [here, there] = [there, here];
  }
  const transcript = await lab.transcript(here, 'traveller');
  const { status, machine } = await lab.client(here).guest('traveller');
  const { exitCode, retiredInstructions, transcript: expected } = await stayedComputation();
  t.match(expected, /^checksum\n.*digest [0-9a-f]{8}\n$/s);
  t.equal(transcript, expected);
  t.equal(status, 'finished');
  t.match(machine, { exitCode, retiredInstructions });
  t.equal(exitCode, 0);
  t.strictSame(await lab.whereIs('traveller'), { [here]: 'finished' });
});

await t.test('its registers and memory too', async (t) => {
  const { kinds, latest } = watchedKinds();
  const cluster = await Cluster.start(['a', 'b'], {}, kinds);
  t.teardown(() => cluster.close());
  for (const definition of [COMPUTATION, WRITER]) {
    const { name } = definition;
    await cluster.boot('a', definition);
    let [here, there] = ['a', 'b'];
    for (let move = 1; move <= MOVES; move += 1) {
      t.equal(cluster.agent(here).guest(name).status, 'running', `running before move ${move}`);
      t.match(await cluster.migrate(name, here, there, QUICK), { outcome: 'completed', error: null });
      [here, there] = [there, here];
    }
    await stopped(latest.get(name)!);
    const ending = await (definition === WRITER ? stay(WRITER) : stayedComputation());
    t.strictSame(await endingOf(latest.get(name)!), ending);
    if (name === 'traveller') continue;

    t.equal(ending.retiredInstructions, WRITER.stopAtInstruction, 'paused exactly there');
    t.match(await cluster.migrate(name, here, there), { outcome: 'completed' });
    t.strictSame(cluster.whereIs(name), [{ node: there, status: 'paused' }], 'and paused after a move');
    t.strictSame(await endingOf(latest.get(name)!), ending);
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
