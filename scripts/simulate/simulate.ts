import { formatDuration } from '../../shared/units.js';
import { buildCluster, type Cluster, dirtyRatio, Draws, withWritesTimes } from './cluster.js';
import { planMoves, type Wave } from './moves.js';
import { type MigrationRules, type MovesRun, type Policy, runMoves } from './run-moves.js';
import type { Scenario } from './scenario.js';
import type { PolicyFigures, SimulationReport, Spread, SweepPoint } from './simulation-report.js';

/** A run that took longer is told of: who waits sees that it gets on. ms */
const WORTH_TELLING_MS = 1000;

/**
 * The same moves of the same guests under each policy. `ratios`: what the guests' write rates are brought to, on the average, as
 * a part of the links' rate. `say`: a line of progress. Depends on the scenario alone, its seed included.
 */
export function simulate(
  scenario: Scenario,
  ratios: readonly number[],
  say: (line: string) => void = () => undefined,
): Omit<SimulationReport, 'command'> {
  const draws = new Draws(scenario.seed);
  const cluster = buildCluster(scenario, draws);
  const waves = planMoves(scenario.moves, cluster, draws);
  const policies: Policy[] = ['pair-lock', ...new Set(scenario.atOnce)];
  const figuresOf = (each: Cluster, what: string): PolicyFigures[] =>
    policies.map((policy) => {
      const began = performance.now();
      const figures = runPolicy(each, waves, policy, scenario);
      const tookMs = performance.now() - began;
      const name = policy === 'pair-lock' ? 'one at a time' : `${policy} at once`;
      if (tookMs >= WORTH_TELLING_MS)
        say(`${what}, ${name}: ${figures.events} events in ${formatDuration(tookMs)}`);
      return figures;
    });
  const asTheyAre = dirtyRatio(cluster);
  const sweep = ratios.map((ratio): SweepPoint => ({
    dirtyRatio: ratio,
    policies: figuresOf(withWritesTimes(cluster, ratio / asTheyAre), `writes at ${ratio} of the links`),
  }));
  return {
    scenario,
    cluster: {
      nodes: cluster.linkRates.length,
      guests: cluster.guests.length,
      memoryBytes: cluster.guests.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
      dirtyRatio: asTheyAre,
    },
    policies: figuresOf(cluster, 'guests as they are'),
    sweep,
  };
}

function runPolicy(
  cluster: Cluster,
  waves: readonly Wave[],
  policy: Policy,
  scenario: Scenario,
): PolicyFigures {
  const run = runMoves(cluster, waves, policy, rulesOf(scenario), scenario.overheads);
  return policyFigures(cluster, policy, run);
}

export function rulesOf({ migration }: Pick<Scenario, 'migration'>): MigrationRules {
  const { maxDowntime, bandwidth, onLimit, maxRounds, maxTime, stallRounds } = migration;
  return {
    maxDowntimeMs: maxDowntime,
    maxTotalMs: maxTime,
    maxRounds,
    stallRounds,
    onLimit,
    bandwidth: bandwidth === 0 ? Infinity : bandwidth / 1000,
  };
}

function policyFigures({ guests }: Cluster, policy: Policy, run: MovesRun): PolicyFigures {
  const { migrations, totalMs, mostPerNode, events } = run;
  const moved = migrations.filter((each) => each.moved);
  const sum = (values: readonly number[]) => values.reduce((all, each) => all + each, 0);
  const downtimes = moved.map(({ downtimeMs }) => downtimeMs);
  return {
    atOnce: policy === 'pair-lock' ? null : policy,
    migrations: migrations.length,
    totalMs,
    wireBytes: Math.round(sum(migrations.map(({ wireBytes }) => wireBytes))),
    populatedBytes: sum(migrations.map(({ guest }) => guests[guest]!.populatedBytes)),
    notConverged: migrations.filter(({ reason }) => reason !== 'below-threshold').length,
    notMoved: migrations.length - moved.length,
    downtimeMs: { ...spreadOf(downtimes), sum: sum(downtimes) },
    migrationMs: spreadOf(migrations.map(({ startedAt, endedAt }) => endedAt - startedAt)),
    doneAfterMs: spreadOf(migrations.map(({ requestedAt, endedAt }) => endedAt - requestedAt)),
    mostPerNode,
    events,
  };
}

function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { median: at(0.5), percentile99: at(0.99), longest: at(1) };
}
