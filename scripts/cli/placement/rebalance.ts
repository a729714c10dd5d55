import { EXIT } from '../../../shared/api.js';
import { MigrationError } from '../../../shared/errors.js';
import { counted, formatBytes } from '../../../shared/units.js';
import { ClusterAccess } from '../cluster-access.js';
import type { ExitCode } from '../exit-code.js';
import type { Session } from '../session.js';
import { formatTable } from '../table.js';
import { moveTable } from './move-text.js';
import { moveAll, type MovesOptions, realDryRun, untilInterrupted } from './move-session.js';
import { nodeGuests } from './node-guests.js';
import { fillOf, nodeLoads, type Reason } from './node-load.js';
import { type BalancePlan, planBalance } from './plan-balance.js';
import { exitCodeOfMoves, type MoveState, planned } from './run-moves.js';

export interface RebalanceOptions extends MovesOptions {
  /** Percent of its memory by which a node may differ from the average. */
  readonly tolerance: number;
}

/** What `vmferry rebalance --json` prints. */
export interface RebalanceReport extends Omit<BalancePlan, 'moves'> {
  dryRun: boolean;
  tolerance: number;
  moves: readonly MoveState[];
  /** Nodes that take no part: drained, or not to be asked. */
  left: readonly Reason[];
}

/** Moves as few VMs as bring nodes' memory use near the cluster's. */
export async function rebalance(session: Session, options: RebalanceOptions): Promise<ExitCode> {
  const { tolerance } = options;
  if (!(tolerance >= 0 && tolerance <= 100)) {
    throw new MigrationError('invalid-request', `--tolerance: ${tolerance} is no percentage: from 0 to 100`);
  }
  return await untilInterrupted(session, async (signal) => {
    const access = new ClusterAccess(session.client);
    const report = await access.look();
    const loads = nodeLoads(report);
    const candidates = report.nodes.flatMap(({ status }) => (status ? nodeGuests(status).movable : []));
    const plan = await planBalance(candidates, loads, tolerance / 100, realDryRun(access, options, signal));
    const states = plan.moves.map(planned);
    const left = loads.flatMap(({ closed }) => closed ?? []);
    const { output } = session;
    output.progress(nodeTable(plan));
    for (const { node, message } of left) output.progress(`${node} takes no part: ${message}`);
    if (states.length > 0) output.progress(moveTable(states));
    for (const { vm, to, message, code } of plan.refused) {
      output.progress(`${vm} can't go to ${to}: ${message} (${code})`);
    }
    const { dryRun, detach, onFailure, request } = options;
    if (!dryRun) {
      const resume = `vmferry rebalance --tolerance ${tolerance}`;
      await moveAll(session, states, { access, request, onFailure, signal, follow: !detach }, resume);
    }
    const result: RebalanceReport = { ...plan, dryRun, tolerance, moves: states, left };
    output.result(result, () => summary(result, options));
    if (dryRun) return EXIT.done;
    return exitCodeOfMoves(detach ? states.filter(({ error }) => error !== null) : states, []);
  });
}

function nodeTable({ nodes }: BalancePlan): string {
  return formatTable(
    [
      { heading: 'node' },
      { heading: 'memory', figures: true },
      { heading: 'in use', figures: true },
      { heading: 'full', figures: true },
      { heading: 'full then', figures: true },
    ],
    nodes.map((node) => [
      node.node,
      formatBytes(node.limitBytes),
      formatBytes(node.beforeBytes),
      percent(fillOf(node.beforeBytes, node)),
      percent(fillOf(node.afterBytes, node)),
    ]),
  );
}

function summary(
  { balanced, meanFill, moves, dryRun, tolerance }: RebalanceReport,
  { detach }: RebalanceOptions,
): string {
  const done = moves.filter(({ outcome }) => outcome === 'completed').length;
  const what = dryRun
    ? `${counted(moves.length, 'VM')} would move; nothing was changed`
    : detach
      ? `${counted(moves.length, 'VM')} asked to move`
      : `${done} of ${counted(moves.length, 'VM')} moved`;
  const near = `within ${tolerance} points of the cluster's average, ${percent(meanFill)}`;
  if (balanced && moves.length === 0) return `nothing to move: each node is ${near}`;
  const open = dryRun || detach || done < moves.length;
  const then = open ? `with ${moves.length === 1 ? 'it' : 'all of them'} moved` : 'with that';
  if (balanced) return `${what}; ${then} each node is ${near}`;
  return `${what}; ${then} not each node is ${near}, and no further move of one VM brings them nearer`;
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}
