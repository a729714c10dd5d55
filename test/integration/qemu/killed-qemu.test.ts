import t, { type Test } from 'tap';
import type { GuestTranscript } from '../../../scripts/lab/guest-transcript.js';
import type { MigrationPhase } from '../../../shared/api.js';
import type { TargetMessage } from '../../../shared/protocol/messages.js';
import { HeldLink } from '../../support/held-link.js';
import { QemuLab } from '../../support/qemu-lab.js';

/**
 * QEMU killed at each step of a migration, on either side: the guest of the other side is right, if it was to have one,
 * and the error says what happened.
 */

const MEMORY = 32 * 2 ** 20;

/** One round, then the one with the guest paused: each is acknowledged. */
const OPTIONS = { verify: 'strict', maxRounds: 1 } as const;

/** What the target says as it ends a step, after how many others of the kind: held back, the step lasts. */
const LAST_WORDS = {
  preparing: { says: 'prepared', after: 0, phase: 'preparing' },
  copying: { says: 'round-ack', after: 0, phase: 'copying' },
  'sending the last pages': { says: 'round-ack', after: 1, phase: 'switching-over' },
  verifying: { says: 'verify-hashes', after: 0, phase: 'verifying' },
  'the target loads': { says: 'ready', after: 0, phase: 'switching-over' },
  committing: { says: 'running', after: 0, phase: 'committing' },
} as const satisfies Record<string, { says: TargetMessage['type']; after: number; phase: MigrationPhase }>;

type Step = keyof typeof LAST_WORDS;

const lab = await QemuLab.start(t);
const link = await HeldLink.between(t, lab.agents, 'a', 'b');

/** Starts a migration of a page walker from a to b, which is in a step until the link is released. */
async function holdIn(step: Step) {
  const transcript = await lab.bootPageWalker('a', 'walker', MEMORY);
  // The request is preceded by a preflight, whose messages go by. What follows takes a QEMU that has to start.
  const id = await lab.agents.request('walker', 'a', 'b', OPTIONS);
  const { says, after, phase } = LAST_WORDS[step];
  await link.hold(says, after);
  // The target's may still be starting: it takes pages before.
  await lab.agents.agent('b').logged((line) => line['msg'] === 'QEMU has started' && line['incoming'] === id);
  await lab.agents.event('a', id, (event) => event.event === 'phase' && event.phase === phase);
  return { transcript, id };
}

/** Kills the QEMUs of a node. Returns how many there were. */
function killQemus(node: string): number {
  const pids = lab.qemus(node);
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  return pids.length;
}

/** Undefines the guest wherever it is. */
async function clearAway(): Promise<void> {
  for (const [node, status] of Object.entries(await lab.agents.whereIs('walker'))) {
    const client = lab.agents.client(node);
    if (status !== 'stopped') await client.changeGuest('walker', 'stop');
    await client.undefineGuest('walker');
  }
}

for (const step of ['preparing', 'copying', 'sending the last pages', 'verifying'] as const) {
  await t.test(`the source's QEMU is killed while ${step}`, async (t) => {
    const { id } = await holdIn(step);
    t.equal(killQemus('a'), 1);
    await lab.agents.event('a', id, (event) => event.event === 'phase' && event.phase === 'aborting');
    link.release();
    const result = await lab.agents.result('a', id);
    await lab.cleared('b', id);
    t.match(result, { outcome: 'failed', error: { code: 'guest-failed', message: /QEMU/ } });
    t.match(await lab.agents.client('a').guest('walker'), { failure: /QEMU/ });
    t.same(await lab.agents.whereIs('walker', ['b']), {}, 'the target keeps nothing');
    t.same(await lab.remains('b'), { files: [], processes: [] });
    await clearAway();
  });
}

for (const step of [
  'preparing',
  'copying',
  'sending the last pages',
  'verifying',
  'the target loads',
] as const) {
  await t.test(`the target's QEMU is killed while ${step}`, async (t) => {
    const { transcript, id } = await holdIn(step);
    t.equal(killQemus('b'), 1);
    // It ends its page streams, which are not held, once it has said why: that must not be held any longer.
    await lab.agents.agent('b').logged((line) => line['migration'] === id && line['state'] === 'aborting');
    link.release();
    const result = await lab.agents.result('a', id);
    await lab.cleared('b', id);
    t.match(result, { outcome: 'failed', error: { message: /QEMU/ } });
    t.same(await lab.agents.whereIs('walker'), { a: 'running' }, 'it goes on where it was');
    await transcript.another(/pass \w{8}/);
    t.match(await lab.agents.migrate('walker', 'a', 'b', { verify: 'strict' }), { outcome: 'completed' });
    await clearAway();
  });
}

/** The guest of the target is whole, and the only one. */
async function arrived(t: Test, transcript: GuestTranscript): Promise<void> {
  t.same(await lab.agents.whereIs('walker'), { b: 'running' });
  await transcript.another(/pass \w{8}/);
  await lab.agents.client('b').changeGuest('walker', 'pause');
  t.same(await lab.pageWalkDefects('b', 'walker'), []);
  await clearAway();
}

for (const step of ['the target loads', 'committing'] as const) {
  await t.test(`the source's QEMU is killed while ${step}: it is not needed any more`, async (t) => {
    const { transcript, id } = await holdIn(step);
    t.equal(killQemus('a'), 1);
    link.release();
    t.match(await lab.agents.result('a', id), { outcome: 'completed' });
    await arrived(t, transcript);
  });
}

await t.test("the target's QEMU is killed while committing", async (t) => {
  const { id } = await holdIn('committing');
  t.equal(killQemus('b'), 1);
  link.release();
  t.match(await lab.agents.result('a', id), { outcome: 'completed' });
  t.match(await lab.agents.client('b').guest('walker'), { failure: /QEMU/ });
  t.same(await lab.agents.whereIs('walker', ['a']), {}, 'it was the target that had it');
  await clearAway();
});

/** As holdIn, in the step after the last one: the source's QEMU stands still and can't end when it is told to. */
async function holdInCompleting() {
  const { transcript, id } = await holdIn('committing');
  for (const pid of lab.qemus('a')) process.kill(pid, 'SIGSTOP');
  link.release();
  await lab.agents.event('a', id, (event) => event.event === 'phase' && event.phase === 'completing');
  return { transcript, id };
}

await t.test("the source's QEMU is killed while completing", async (t) => {
  const { transcript, id } = await holdInCompleting();
  t.equal(killQemus('a'), 1);
  t.match(await lab.agents.result('a', id), { outcome: 'completed' });
  await arrived(t, transcript);
});

await t.test("the target's QEMU is killed while completing", async (t) => {
  const { id } = await holdInCompleting();
  t.equal(killQemus('b'), 1);
  t.equal(killQemus('a'), 1, 'the source was not done');
  t.match(await lab.agents.result('a', id), { outcome: 'completed' });
  t.match(await lab.agents.client('b').guest('walker'), { failure: /QEMU/ });
  t.same(await lab.agents.whereIs('walker', ['a']), {});
  await clearAway();
});

await t.test('nothing of them stays behind', async (t) => {
  for (const node of ['a', 'b']) t.same(await lab.remains(node), { files: [], processes: [] });
});
