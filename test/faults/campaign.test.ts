import t from 'tap';
import { runCampaign } from './campaign.js';

/** A short part of the campaign; all of it is `npm run test:faults`. */

for (const [guest, firstSeed, runs] of [
  ['embedded', 1, 10],
  ['qemu', 1, 4],
] as const) {
  await t.test(`${guest} guests while things go wrong`, async (t) => {
    const reports = await runCampaign({ guest, firstSeed, runs, seconds: Infinity, pairs: 2 });
    const wrong = reports.filter(({ violations }) => violations.length > 0);
    t.equal(reports.length, runs);
    t.same(wrong, []);
  });
}
