import t from 'tap';
import type { MigrationResult } from '../../shared/api.js';
import { FaultPair } from '../faults/fault-pair.js';
import { messageMarker } from '../faults/link-proxy.js';
import { takeBack } from '../faults/take-back.js';

/** A target that has committed and is gone before it could say so, as the operator sees it. */

const pair = await FaultPair.start('embedded', 'auto');
t.teardown(() => pair.close());

/** Resolves once node b has committed what is coming to it, and is gone. */
function dieWithCommit(): Promise<void> {
  const marker = messageMarker('commit');
  return new Promise((resolve, reject) => {
    pair.link.traps.add({
      find: ({ carried, bytes }) => (carried.migrates && bytes.includes(marker) ? bytes.length : null),
      spring: async () => {
        const flow = pair.link.stall('link');
        const committed = pair.agent('b').logged(({ msg }) => msg === 'the guest is committed to this node');
        const died = committed.then(async () => await pair.kill('b'));
        died.then(resolve, reject);
        await died;
        // What it said last is lost with it.
        pair.link.cut('link');
        flow();
      },
    });
  });
}

await t.test('exit code 5 and an instruction that, followed, gives exactly one guest', async (t) => {
  await pair.lab.boot('a', { name: 'web', program: 'ticker' });
  const died = dieWithCommit();
  const migrating = pair.lab.command('a', 'migrate', 'web', '--to', 'b', '--json');
  await died;
  const { exitCode, stdout } = await migrating;
  t.equal(exitCode, 5);
  const { outcome, error } = JSON.parse(stdout) as MigrationResult;
  t.match({ outcome, error }, { outcome: 'unknown', error: { code: 'outcome-unknown' } });
  t.match(error?.message, /vmferry vm resolve web/);
  t.same(await pair.lab.whereIs('web', ['a']), { a: 'unknown' });

  t.same(await takeBack(pair, 'web', 'a'), []);
  t.same(await pair.lab.whereIs('web'), { a: 'running' });
  t.equal((await pair.lab.migrate('web', 'a', 'b')).outcome, 'completed', 'and it can be migrated');
});
