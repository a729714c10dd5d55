import { parseArgs } from 'node:util';
import { formatTable } from '../../scripts/cli/table.js';
import { runSoak } from './soak.js';
import { wholeNumber } from './whole-number.js';

/** The soak: npm run test:soak -- --help. */

const HELP = `npm run test:soak -- [options]

One guest goes to and fro between two agents; what their processes hold must not grow. Exit code 1 if anything did.

  --guest embedded|qemu   embedded
  --migrations N          2000, or 200 with qemu
  --json                  one JSON document
`;

const { values } = parseArgs({
  options: {
    guest: { type: 'string', default: 'embedded' },
    migrations: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(HELP);
} else {
  const { guest } = values;
  if (guest !== 'embedded' && guest !== 'qemu') throw new Error(`--guest ${guest}: must be embedded or qemu`);
  const migrations = wholeNumber('migrations', values.migrations ?? (guest === 'qemu' ? '200' : '2000'));
  const report = await runSoak(guest, migrations, (sample) => {
    if (!values.json) process.stdout.write(`${JSON.stringify(sample)}\n`);
  });
  const { samples, violations } = report;
  if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else {
    const rows = Object.keys(samples[0]?.figures ?? {}).map((name) => {
      const first = samples[0]!;
      const last = samples.at(-1)!;
      const change = (last.figures[name] ?? 0) - (first.figures[name] ?? 0);
      const slope = (change / Math.max(1, last.migrations - first.migrations)) * 1000;
      return [name, first.figures[name], last.figures[name], slope].map((cell) =>
        typeof cell === 'number' ? cell.toFixed(1) : (cell ?? ''),
      );
    });
    const figures = ['first', 'last', 'a thousand migrations'].map((heading) => ({ heading, figures: true }));
    process.stdout.write(`\n${formatTable([{ heading: '' }, ...figures], rows)}\n`);
  }
  if (violations.length > 0) process.stderr.write(`${violations.join('\n')}\n`);
  // As run-faults.ts does.
  process.exit(violations.length > 0 ? 1 : 0);
}
