import t from 'tap';
import { runCampaign } from './campaign.js';

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
  });
}
