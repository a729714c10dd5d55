import { writeFile } from 'node:fs/promises';
import { EXIT } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import type { ExitCode } from '../cli/exit-code.js';
import type { Session } from '../cli/session.js';
import { agentUrls, countOf, type PlaceArgs } from './bench-options.js';
import type { BenchReport, BenchSetting } from './bench-report.js';
import { type BenchProgram, hostFacts } from './host-facts.js';
import { localBed, remoteBed, type TestBed } from './test-bed.js';

/** One of the benchmarks: what it does with a bed, and how it shows that. */
export interface Bench {
  /** Programs whose versions belong to the report. */
  readonly programs: readonly BenchProgram[];
  /** Rates of the link that it measures with. bytes/s; null: none */
  readonly links: readonly (number | null)[];
  readonly options: BenchSetting['options'];
  /** `say`: a line of progress for those who watch. */
  readonly run: (bed: TestBed, setting: BenchSetting, say: (line: string) => void) => Promise<BenchReport>;
  readonly table: (report: BenchReport) => string;
}

/** Runs a benchmark where the options say, shows its report and writes it; clears all of it away, whatever happens. */
export async function runBench(args: PlaceArgs, session: Session, bench: Bench): Promise<ExitCode> {
  const { client, output, terminal } = session;
  countOf('runs', args.runs);
  if (args.lab !== true && bench.links.some((rate) => rate !== null)) {
    const remedy = args.agents === undefined ? 'add --lab' : 'leave --link out with --agents';
    throw new MigrationError('invalid-request', `the rate of a link can be set in a lab alone: ${remedy}`);
  }
  let opening: Promise<TestBed> | undefined;
  let interrupted = false;
  let interrupt!: (reason: MigrationError) => void;
  const interruption = new Promise<never>((_, reject) => (interrupt = reject));
  const stopListening = terminal.onInterrupt(() => {
    // What clears away listens for the end of the process.
    if (interrupted) process.exit(EXIT.cancelled);
    interrupted = true;
    interrupt(new MigrationError('cancelled', 'the benchmark was ended before it was done'));
  });
  // The terminal is closed: what clears away listens for the end of the process.
  const hangUp = () => process.exit(EXIT.cancelled);
  process.once('SIGHUP', hangUp);
  try {
    const report = await Promise.race([
      interruption,
      (async () => {
        opening =
          args.agents === undefined ? localBed(args.lab === true) : remoteBed(agentUrls(args.agents), client);
        const bed = await opening;
        const setting = await settingOf(args, bed, bench);
        return await bench.run(bed, setting, (line) => output.progress(line));
      })(),
    ]);
    const document = `${JSON.stringify(report, null, 2)}\n`;
    if (args.out !== undefined) await writeFile(args.out, document);
    if (args.report !== undefined) {
      const { renderReport } = await import('./report/render-report.js');
      await writeFile(args.report, renderReport(report));
    }
    output.result(report, () => bench.table(report));
    return EXIT.done;
  } finally {
    (await opening?.catch(() => undefined))?.close();
    stopListening();
    process.off('SIGHUP', hangUp);
  }
}

async function settingOf(args: PlaceArgs, bed: TestBed, { programs, links, options }: Bench) {
  const rates = [...new Set(links)];
  return {
    startedAt: new Date().toISOString(),
    command: ['vmferry', ...process.argv.slice(2)].join(' '),
    host: await hostFacts(programs),
    link: {
      kind: bed.kind,
      agents: bed.nodes.map(({ client }) => client.url),
      bytesPerSecond: rates.length === 1 ? rates[0]! : null,
    },
    options: { runs: args.runs, ...options },
  } satisfies BenchSetting;
}
