import t from 'tap';
import { runCampaign } from './campaign.js';

/** A short part of the campaign, with embedded guests; all of it, QEMU's too, is `npm run test:faults`. */

const RUNS = 10;

await t.test('embedded guests while things go wrong', async (t) => {
  const plan = { guest: 'embedded', firstSeed: 1, runs: RUNS, seconds: Infinity, pairs: 1 } as const;
  const reports = await runCampaign(plan);
  t.equal(reports.length, RUNS);
  t.same(
    reports.filter(({ violations }) => violations.length > 0),
    [],
  );
});
