import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { Cluster } from '../support/cluster.js';
import { arrayGuestKinds, type HostedArrayGuest } from '../support/hosted-array-guest.js';

setFlagsFromString('--expose_gc');
const collectGarbage = runInNewContext('gc') as () => void;

void t.test('a migration that is shown after its end does not keep the guest that left', async (t) => {
  const made: WeakRef<HostedArrayGuest>[] = [];
  const { kinds, guests } = arrayGuestKinds((guest) => made.push(new WeakRef(guest)));
  const cluster = await Cluster.start(['a', 'b'], {}, kinds);
  t.teardown(() => cluster.close());
  await cluster.boot('a', { name: 'vm' });
  const { id, outcome } = await cluster.migrate('vm', 'a', 'b');
  t.equal(outcome, 'completed');
  await cluster.cleared('b', ['vm']);
  guests.clear();
  const a = cluster.service('a');
  const [shown] = a.migrations();
  t.match(shown, { vm: 'vm', phase: 'ended', result: { outcome: 'completed' } }, 'it is still shown');
  const whole = (await a.migration(id)).result;
  t.ok(whole!.rounds.length > 0);
  t.same(shown?.result, { ...whole, rounds: [] }, 'without its rounds, where all are listed');
  // what a turn of the event loop or a timer of the ended session holds goes within a moment
  for (let turn = 0; turn < 200 && made[0]?.deref(); turn += 1) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    collectGarbage();
  }
  t.ok(made[0]?.deref() === undefined, 'it is gone from the source');
  t.match(cluster.whereIs('vm'), [{ node: 'b', status: 'running' }]);
});

void t.test('a guest whose copy could not be ended at first can come back', async (t) => {
  let attempts = 0;
  const { kinds } = arrayGuestKinds((guest) => {
    const destroy = guest.destroy.bind(guest);
    guest.destroy = async () => {
      attempts += 1;
      if (attempts === 1) throw new Error('its process hangs');
      await destroy();
    };
  });
  const cluster = await Cluster.start(['a', 'b'], {}, kinds);
  t.teardown(() => cluster.close());
  await cluster.boot('a', { name: 'vm' });
  t.match(await cluster.migrate('vm', 'a', 'b'), { outcome: 'completed' });
  const journal = join(cluster.stateDirectory('a'), 'journal');
  while ((await readdir(journal)).length > 0) await new Promise((resolve) => setImmediate(resolve));
  t.match(await cluster.migrate('vm', 'b', 'a'), { outcome: 'completed' });
  t.match(cluster.whereIs('vm'), [{ node: 'a', status: 'running' }]);
});
