import { readFile, writeFile } from 'node:fs/promises';
import { EXIT } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { formatBytes } from '../../shared/units.js';
import { parseYaml } from '../../shared/yaml-document.js';
import { countOf, items } from '../bench/bench-options.js';
import type { ExitCode } from '../cli/exit-code.js';
import type { Output } from '../cli/output.js';
import { formatTable } from '../cli/table.js';
import { readBenchResults } from './bench-results.js';
import { check, checkText } from './check-table.js';
import { predict } from './predict.js';
import { type QuickOptions, quickScenario } from './quick-scenario.js';
import { type Scenario, ScenarioSchema } from './scenario.js';
import { simulate } from './simulate.js';
import { movesText, simulationPage } from './simulation-page.js';
import type { SimulationReport } from './simulation-report.js';
import { simulationSections } from './simulation-sections.js';

export interface SimulateOptions {
  readonly file: string | undefined;
  readonly quick: QuickOptions;
  readonly seed: number | undefined;
  readonly atOnce: string | undefined;
  readonly sweep: string | undefined;
  readonly plot: string | undefined;
}

/** Write rates that are plotted if nothing else is said: where the ratio of times turns, and beyond. */
const PLOTTED_RATIOS = '0,0.05,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1';

export async function runSimulation(options: SimulateOptions, output: Output): Promise<ExitCode> {
  const { file, quick, seed, atOnce, plot } = options;
  const asked = file === undefined ? quickScenario(quick) : await readScenario(file);
  const scenario: Scenario = {
    ...asked,
    ...(seed !== undefined && { seed: wholeNumber('seed', seed) }),
    ...(atOnce !== undefined && {
      atOnce: items('at-once', atOnce).map((each) => countOf('at-once', Number(each))),
    }),
  };
  const sweep = options.sweep ?? (plot === undefined ? undefined : PLOTTED_RATIOS);
  const ratios = sweep === undefined ? [] : ratiosOf(sweep, scenario);
  const command = ['vmferry', ...process.argv.slice(2)].join(' ');
  const report = { command, ...simulate(scenario, ratios, (line) => output.remark(line)) };
  if (plot !== undefined) await writePage(plot, simulationPage(report));
  output.result(report, () => reportText(report));
  if (plot !== undefined) output.remark(`the plots are in ${plot}`);
  return EXIT.done;
}

async function writePage(file: string, page: string): Promise<void> {
  try {
    await writeFile(file, page);
  } catch (thrown) {
    throw new MigrationError(
      'invalid-request',
      `--plot: the page can't be written: ${(thrown as Error).message}`,
    );
  }
}

async function readScenario(file: string): Promise<Scenario> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (thrown) {
    const { message } = thrown as Error;
    throw new MigrationError('invalid-request', `the scenario ${file} can't be read: ${message}`);
  }
  return parseYaml(text, ScenarioSchema, 'invalid-request', file);
}

function ratiosOf(list: string, { guests }: Scenario): number[] {
  if (guests.every(({ writes }) => writes.every(({ rate }) => rate === 0))) {
    const remedy = 'give them writes, or leave --sweep and --plot out';
    throw new MigrationError(
      'invalid-request',
      `none of the guests writes, so there is nothing to vary: ${remedy}`,
    );
  }
  const ratios = items('sweep', list).map((each) => {
    const ratio = Number(each);
    if (ratio >= 0 && ratio <= 1000) return ratio;
    throw new MigrationError('invalid-request', `--sweep: '${each}' must be a number from 0 to 1000`);
  });
  return [...new Set(ratios)].sort((a, b) => a - b);
}

function wholeNumber(option: string, value: number): number {
  if (Number.isInteger(value) && value >= 0 && value < 2 ** 31) return value;
  throw new MigrationError(
    'invalid-request',
    `--${option}: it must be a whole number from 0 to ${2 ** 31 - 1}`,
  );
}

function reportText(report: SimulationReport): string {
  const { cluster, scenario } = report;
  const head = [
    `${cluster.nodes} nodes, ${cluster.guests} guests with ${formatBytes(cluster.memoryBytes)} of memory, seed ${scenario.seed}`,
    `moved: ${movesText(scenario.moves)}`,
  ];
  const sections = simulationSections(report).map(({ heading, notes, table }) =>
    [heading, ...notes, '', formatTable(table.columns, table.rows)].join('\n'),
  );
  return [head.join('\n'), ...sections].join('\n\n');
}

/** What a downtime may be off whatever it is: see check-table.ts. ms */
const DOWNTIME_TOLERANCE_MS = 15;

/** `vmferry simulate --check`: the model of one migration beside what a benchmark measured. */
export async function runCheck(files: readonly string[], percent: number, output: Output): Promise<ExitCode> {
  if (!(percent > 0 && percent <= 100)) {
    throw new MigrationError(
      'invalid-request',
      '--within: it must be a number of per cent, above 0 and at most 100',
    );
  }
  const each = [];
  for (const file of files) each.push(predict(await readBenchResults(file)));
  const predictions = {
    comparisons: each.flatMap(({ comparisons }) => comparisons),
    leftOut: each.flatMap(({ leftOut }) => leftOut),
  };
  const checked = check(predictions, { share: percent / 100, downtimeMs: DOWNTIME_TOLERANCE_MS });
  const off = checked.filter(({ within }) => !within).length;
  const verdict =
    checked.length === 0
      ? 'nothing that the model can say anything to'
      : `${checked.length - off} of ${checked.length} figures are within ${percent} %`;
  output.result({ within: percent, checked, leftOut: predictions.leftOut }, () =>
    [checkText(checked, predictions), verdict].join('\n'),
  );
  return off === 0 && checked.length > 0 ? EXIT.done : EXIT.failed;
}
