import t from 'tap';
import { Cluster } from '../support/cluster.js';

/**
 * A guest that writes its working set faster than the link carries it: the rounds never converge, and the options say
 * what happens then.
 */

/** 1 MiB, all of it written again within every round. */
const HASTY = {
  program: 'dirty',
  memory: 2 ** 21,
  parameters: { workingSetPages: 256, pagesPerSecond: 0 },
} as const;

/** A round takes about 0.1 s, in which the guest writes its working set many times over. bytes/s */
const SLOW_LINK = 10 * 2 ** 20;

const cluster = await Cluster.start(['a', 'b']);
t.teardown(() => cluster.close());
await cluster.boot('a', { name: 'hasty', ...HASTY });

const limits = [
  { reason: 'stalled', options: { stallRounds: 2 }, rounds: 3 },
  { reason: 'round-limit', options: { maxRounds: 2, stallRounds: 1000 }, rounds: 2 },
  { reason: 'time-limit', options: { maxTotalMs: 1, stallRounds: 1000 }, rounds: 1 },
] as const;
const common = { bandwidthBytesPerSecond: SLOW_LINK, maxDowntimeMs: 20 };

for (const { reason, options, rounds } of limits) {
  await t.test(`${reason}: cancel leaves the guest where it is`, async (t) => {
    const [from, to] = cluster.whereIs('hasty')[0]?.node === 'a' ? ['a', 'b'] : ['b', 'a'];
    const result = await cluster.migrate('hasty', from, to, { ...common, ...options, onLimit: 'cancel' });
    t.match(result, {
      outcome: 'failed',
      error: { code: 'not-converging', retryable: true, message: /^the guest writes faster than the link/ },
      convergence: { reason, action: 'cancel' },
      downtimeMs: 0,
    });
    t.equal(result.rounds.length, rounds);
    t.ok(result.rounds.at(-1)!.residualPages * 4096 > result.convergence!.thresholdBytes);
    await cluster.cleared(to);
    t.strictSame(cluster.whereIs('hasty'), [{ node: from, status: 'running' }]);
    t.equal(cluster.service(to).node().memoryUsedBytes, 0);
  });

  await t.test(`${reason}: switch-over takes the downtime that it takes`, async (t) => {
    const [from, to] = cluster.whereIs('hasty')[0]?.node === 'a' ? ['a', 'b'] : ['b', 'a'];
    const result = await cluster.migrate('hasty', from, to, {
      ...common,
      ...options,
      onLimit: 'switch-over',
      verify: 'strict',
    });
    t.match(result, {
      outcome: 'completed',
      error: null,
      convergence: { reason, action: 'switch-over' },
      verify: { mode: 'strict', pagesChecked: 512, mismatches: 0 },
    });
    t.equal(result.rounds.length, rounds + 1, 'the rounds, and that of the switchover');
    t.ok(result.rounds.at(-1)!.pages * 4096 > result.convergence!.thresholdBytes);
    t.strictSame(cluster.whereIs('hasty'), [{ node: to, status: 'running' }]);
  });
}
