import { parseArgs } from 'node:util';
import { describeRun, runCampaign } from './campaign.js';
import { planOf } from './fault-plan.js';
import type { RunReport } from './fault-run.js';
import { outcomeTable } from './outcome-table.js';
import { wholeNumber } from './whole-number.js';

/** The fault campaign: npm run test:faults -- --help. */

const HELP = `npm run test:faults -- [options]

Migrations of a guest between two agents while something goes wrong; what goes wrong, when, is drawn from a seed. What must hold is
checked after each run. Exit code 1 if anything did not.

  --guest embedded|qemu   embedded
  --runs N                how many: 100, or 1 where a seed is given
  --seed N                seed of the first run, the next one has the next; the time if not given
  --seconds S             no run begins after that
  --pairs N               pairs of agents at work at the same time: 2
  --json                  a report of each run, one JSON document a line
`;

const { values } = parseArgs({
  options: {
    guest: { type: 'string', default: 'embedded' },
    runs: { type: 'string' },
    seed: { type: 'string' },
    seconds: { type: 'string', default: '86400' },
    pairs: { type: 'string', default: '2' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(HELP);
} else {
  const { guest } = values;
  if (guest !== 'embedded' && guest !== 'qemu') throw new Error(`--guest ${guest}: must be embedded or qemu`);
  const firstSeed = wholeNumber('seed', values.seed ?? String(Date.now() % 2 ** 31));
  const runs = wholeNumber('runs', values.runs ?? (values.seed === undefined ? '100' : '1'));
  if (runs === 1 && !values.json) {
    process.stdout.write(`${JSON.stringify(planOf(firstSeed, guest), null, 2)}\n`);
  }
  const print = (report: RunReport, logs: string | null) => {
    process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : `${describeRun(report)}\n`);
    if (logs === null) return;
    const again = `npm run test:faults -- --guest ${guest} --seed ${report.plan.seed}`;
    process.stderr.write(`${report.violations.join('\n')}\nagain: ${again}\nlogs of the agents: ${logs}\n`);
  };
  const reports = await runCampaign({
    guest,
    firstSeed,
    runs,
    seconds: wholeNumber('seconds', values.seconds),
    pairs: wholeNumber('pairs', values.pairs),
    onRun: print,
  });
  const wrong = reports.filter(({ violations }) => violations.length > 0).length;
  if (!values.json) {
    process.stdout.write(`\n${outcomeTable(reports)}\n\n${reports.length} runs, ${wrong} violations\n`);
  }
  // Not by process.exitCode: Node.js 20 may spin for ever in Environment::CleanupHandles() over sockets that were reset.
  process.exit(wrong > 0 ? 1 : 0);
}
