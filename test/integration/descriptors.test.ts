import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import type { MigrationResult } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { eventually } from '../faults/eventually.js';
import { AgentLab } from '../support/agent-lab.js';
import { leaveDescriptors } from '../support/descriptor-limit.js';

/** An agent that runs out of file descriptors: what needs one fails in words, the rest goes on, and nothing is left of it. */

const OPTIONS = { maxRounds: 2, streams: 2 } as const;

/** With so many a migration has all that it needs. */
const PLENTY = 40;

/** How long it may take until what is over is cleared away. ms */
const LIMIT_MS = 15_000;

const lab = await AgentLab.start(t, ['a', 'b']);
await lab.boot('a', { name: 'web', program: 'dirty' });

/** What is left at a node of guests and migrations, but for the definition of a VM that is there. */
async function remains(node: string): Promise<string[]> {
  const { migrations } = await lab.client(node).status();
  const state = join(lab.directory, node);
  return [
    ...migrations.filter(({ phase }) => phase !== 'ended').map(({ id, phase }) => `${id}: ${phase}`),
    ...(await readdir(join(state, 'guests', 'arriving')).catch(() => [])),
    ...(await readdir(join(state, 'journal'))),
  ];
}

const settled = async () =>
  await eventually(LIMIT_MS, async () => [...(await remains('a')), ...(await remains('b'))]);

for (const [short, side] of [
  ['a', 'source'],
  ['b', 'target'],
] as const) {
  await t.test(`the ${side} lacks descriptors before a migration: none, one, two, ...`, async (t) => {
    const named = new Set<string>();
    let moved: MigrationResult | null = null;
    for (let free = 0; moved === null; free += 1) {
      if (free > PLENTY) throw new Error('it does not move at all');
      const restore = leaveDescriptors(lab.agent(short).process.pid!, free);
      const result = await lab.migrate('web', 'a', 'b', OPTIONS).catch((error: unknown) => error);
      restore();
      t.same(await settled(), [], `nothing is left with ${free}`);
      const where = await lab.whereIs('web');
      if (where['b'] === 'running') {
        t.same(where, { b: 'running' });
        moved = result as MigrationResult;
        continue;
      }
      t.same(where, { a: 'running' }, `the guest runs on with ${free}`);
      const error = result instanceof MigrationError ? result : (result as MigrationResult).error!;
      t.equal(error.retryable, true, error.message);
      named.add(error.code);
      if (error.code === 'limit-exceeded') {
        t.match(error.message, /no file descriptor left: raise its limit of open files/);
        continue;
      }
      // Who asks an agent that can't take a connection sees no more than that it does not.
      t.match(error.code, /^(peer-unreachable|link-lost)$/, error.message);
    }
    t.ok(named.has('limit-exceeded'));
    t.equal((await lab.migrate('web', 'b', 'a', OPTIONS)).outcome, 'completed', 'and back');
  });
}

void t.test(
  'descriptors run out on both sides while pages are copied: all that the commit needs is open',
  async (t) => {
    for (const [from, to] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      const id = await lab.request('web', from, to, { ...OPTIONS, bandwidthBytesPerSecond: 4 * 2 ** 20 });
      await lab.copying(from, id);
      const ended = lab.result(from, id);
      // Its connection is there before there is no other.
      await lab.event(from, id, ({ event }) => event === 'phase');
      const restore = ['a', 'b'].map((node) => leaveDescriptors(lab.agent(node).process.pid!, 0));
      t.match(await ended, { outcome: 'completed', error: null });
      restore.forEach((each) => each());
      t.same(await lab.whereIs('web'), { [to]: 'running' });
      t.same(await settled(), []);
    }
  },
);

void t.test('clients that find no descriptor left for them do no harm', async (t) => {
  const { url, process } = lab.agent('a');
  const restore = leaveDescriptors(process.pid!, 4);
  const port = Number(new URL(url).port);
  const sockets = Array.from({ length: 64 }, () => connect(port, '127.0.0.1'));
  for (const socket of sockets) socket.on('error', () => undefined);
  const refused = sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve)));
  await Promise.race(refused);
  sockets.forEach((socket) => socket.destroy());
  await Promise.all(refused);
  restore();
  t.same(await lab.whereIs('web'), { a: 'running' });
  t.equal((await lab.migrate('web', 'a', 'b', OPTIONS)).outcome, 'completed');
});
