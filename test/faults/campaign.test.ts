import t from 'tap';
import { runCampaign } from './campaign.js';
import { FaultPair } from './fault-pair.js';

/** A short part of the campaign; all of it is `npm run test:faults`. */

for (const [guest, runs] of [
  ['embedded', 10],
  ['qemu', 4],
] as const) {
  await t.test(`${guest} guests while things go wrong`, async (t) => {
    const reports = await runCampaign({ guest, firstSeed: 1, runs, seconds: Infinity, pairs: 1 });
    const wrong = reports.filter(({ violations }) => violations.length > 0);
    t.equal(reports.length, runs);
    t.same(wrong, []);
    const faulty = reports.filter(({ injected }) => injected.length > 0);
    t.ok(faulty.length > runs / 2, 'something did go wrong');
  });
}

await t.test('what an agent itself logs as a defect counts', async (t) => {
  const pair = await FaultPair.start('embedded', 'auto');
  t.teardown(() => pair.close());
  t.same(pair.defects, []);
  pair.agent('a').log.push({ level: 50, msg: 'unhandled rejection: please report it' });
  t.match(pair.defects, [/^the agent of node a has logged .*unhandled rejection/]);
});
