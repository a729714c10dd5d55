import t from 'tap';
import type { GuestTranscript } from '../../../scripts/lab/guest-transcript.js';
import { QemuLab } from '../../support/qemu-lab.js';

/** Guests that shut down, reboot or crash in the middle of a migration. */

const WORK = { memory: [{ mib: 8, hotMiB: 0 }] } as const;

/** The first round lasts until the limit is lifted: what is typed once it has begun happens while memory is copied. bytes/s */
const SLOW = { bandwidthBytesPerSecond: 2 ** 20, verify: 'strict' } as const;
const UNLIMITED = 0;

const lab = await QemuLab.start(t);

/**
 * Starts a migration of `name` from a to b, types the command while it copies, lets it go on once the guest has `printed`
 * what comes of that, and returns its result.
 */
async function typeWhileItMoves(name: string, command: string, transcript: GuestTranscript, printed: RegExp) {
  const id = await lab.agents.request(name, 'a', 'b', SLOW);
  await lab.agents.copying('a', id);
  await lab.type('a', name, command);
  await transcript.printed(printed);
  await lab.agents.client('a').limitMigration(id, UNLIMITED);
  return await lab.agents.result('a', id);
}

await t.test('a guest that powers itself off is finished, wherever it is by then', async (t) => {
  const transcript = await lab.bootLinux('a', 'off', WORK);
  const result = await typeWhileItMoves('off', 'poweroff', transcript, /Power down/);
  t.match(result, { outcome: 'completed', error: null, verify: { mismatches: 0 } });
  t.same(await lab.agents.whereIs('off'), { b: 'finished' });
  await lab.agents.client('b').changeGuest('off', 'stop');
});

await t.test('a guest that reboots boots again, and goes on', async (t) => {
  const transcript = await lab.bootLinux('a', 'again', WORK);
  const booted = transcript.text.length;
  const result = await typeWhileItMoves('again', 'reboot', transcript, /Restarting system/);
  t.match(result, { outcome: 'completed', verify: { mismatches: 0 } });
  await transcript.printed(/Restarting system[^]*booted with[^]*checked all of it/, booted);
  t.same(await lab.agents.whereIs('again'), { b: 'running' });

  const moved = transcript.text.length;
  await lab.type('b', 'again', 'reboot');
  await transcript.printed(/Restarting system[^]*booted with[^]*checked all of it/, moved);
  t.same(transcript.lines(/FAILED/), [], 'also after the move');
  await lab.agents.client('b').changeGuest('again', 'stop');
});

await t.test('a guest that crashes arrives as it is', async (t) => {
  const transcript = await lab.bootLinux('a', 'crash', WORK);
  const result = await typeWhileItMoves('crash', 'panic', transcript, /end Kernel panic/);
  t.match(result, { outcome: 'completed', verify: { mismatches: 0 } });
  t.same(await lab.agents.whereIs('crash'), { b: 'running' });
  await lab.agents.client('b').changeGuest('crash', 'stop');
});

await t.test('a guest that crashes and has a device to tell of that is finished', async (t) => {
  const transcript = await lab.bootLinux('a', 'tell', WORK, { arguments: ['-device', 'pvpanic'] });
  const result = await typeWhileItMoves('tell', 'panic', transcript, /Kernel panic/);
  t.match(result, { outcome: 'completed', error: null });
  t.same(await lab.agents.whereIs('tell'), { b: 'finished' });
  await lab.agents.client('b').changeGuest('tell', 'stop');
});

await t.test('nothing of them stays behind', async (t) => {
  for (const node of ['a', 'b']) t.same(await lab.remains(node), { files: [], processes: [] });
});
