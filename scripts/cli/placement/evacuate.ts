import { type ClusterReport, EXIT } from '../../../shared/api.js';
import { counted } from '../../../shared/units.js';
import { answeringNode, ClusterAccess } from '../cluster-access.js';
import type { ExitCode } from '../exit-code.js';
import { followMigration } from '../../../client/follow-migration.js';
import type { Session } from '../session.js';
import { moveTable, stuckLines } from './move-text.js';
import {
  moveAll,
  type MovesOptions,
  realDryRun,
  redirectedNote,
  redirection,
  untilInterrupted,
} from './move-session.js';
import { nodeGuests, type Stuck } from './node-guests.js';
import { type NodeLoad, nodeLoads, type Reason } from './node-load.js';
import { type DryRun, planMoves } from './plan-moves.js';
import { exitCodeOfMoves, type MoveState, planned, underWay } from './run-moves.js';

export interface EvacuationOptions extends MovesOptions {
  readonly nodes: readonly string[];
  /** Lets no VM come to the nodes, from the beginning on. */
  readonly drain: boolean;
  /** The only node that VMs may go to; null: whichever is best. */
  readonly to: string | null;
  /** How it is called, to be named in what it says. */
  readonly command: string;
}

/** What the commands that empty nodes print with --json. */
export interface EvacuationReport {
  dryRun: boolean;
  nodes: readonly EmptiedNode[];
  /** In the order in which they were asked for; those first that had been asked for before. */
  moves: readonly MoveState[];
  /** VMs that can go nowhere. */
  stuck: readonly Stuck[];
}

export interface EmptiedNode {
  node: string;
  drained: boolean;
  /** VMs that are there at the end, and not just defined. */
  remaining: readonly string[];
  /** VMs that are defined there and not started, and stay. */
  stopped: readonly string[];
}

/** Moves all VMs away from nodes; those that have been asked to leave before are followed. */
export async function evacuate(session: Session, options: EvacuationOptions): Promise<ExitCode> {
  return await untilInterrupted(session, (signal) => new Evacuation(session, options, signal).run());
}

class Evacuation {
  readonly #session: Session;
  readonly #options: EvacuationOptions;
  readonly #access: ClusterAccess;
  readonly #signal: AbortSignal;
  readonly #dryRun: DryRun;

  constructor(session: Session, options: EvacuationOptions, signal: AbortSignal) {
    this.#session = session;
    this.#options = options;
    this.#access = new ClusterAccess(session.client);
    this.#signal = signal;
    this.#dryRun = realDryRun(this.#access, options, signal);
  }

  async run(): Promise<ExitCode> {
    const { nodes, drain, dryRun, detach, onFailure, request, command } = this.#options;
    const { output } = this.#session;
    let report = await this.#access.look();
    for (const node of nodes) answeringNode(report, node);
    if (drain && !dryRun) {
      for (const node of nodes) {
        await this.#access.at(node, (agent) => agent.setDrained(true));
        output.progress(`node ${node} is drained: no VM may come there`);
      }
      report = await this.#access.refresh(report, nodes);
      if (!detach) report = await this.#awaitArrivals(report);
    }
    const { states, stuck } = await this.#plan(report);
    this.#tell(states, stuck);
    const refused = stuck.length > 0 && onFailure === 'stop';
    if (dryRun || refused) {
      if (refused && !dryRun) {
        const ending = drain ? `; drained they stay until 'vmferry undrain ${nodes.join(',')}'` : '';
        output.remark(
          `nothing was moved, since not all can be: '${command} --on-failure continue' moves the others${ending}`,
        );
      }
      this.#result(report, states, stuck);
      return stuck.length > 0 ? EXIT.refused : EXIT.done;
    }
    const targets = this.#loads(report).filter(({ closed }) => closed === null);
    const redirect =
      targets.length > 1
        ? redirection(this.#access, this.#dryRun, (candidates, now, dryRun) =>
            planMoves(candidates, this.#loads(now), dryRun),
          )
        : null;
    const running = {
      ...{ access: this.#access, signal: this.#signal, request, onFailure },
      ...{ follow: !detach, redirect },
    };
    await moveAll(this.#session, states, running, command);
    const end = detach ? report : await this.#access.refresh(report, nodes);
    const emptied = this.#result(end, states, stuck);
    if (detach)
      return exitCodeOfMoves(
        states.filter(({ error }) => error !== null),
        stuck,
      );
    const exitCode = exitCodeOfMoves(states, stuck);
    // Somebody has started one meanwhile.
    const full = emptied.some(({ remaining }) => remaining.length > 0);
    return exitCode === EXIT.done && full ? EXIT.failed : exitCode;
  }

  /** VMs that had begun to arrive before a node was drained come, and are moved with the others. */
  async #awaitArrivals(report: ClusterReport): Promise<ClusterReport> {
    const known = new Set(report.nodes.map(({ node }) => node));
    const arriving = report.queue.filter(
      ({ from, to, state }) => this.#options.nodes.includes(to) && state === 'running' && known.has(from),
    );
    for (const { vm, from, to, migration } of arriving) {
      this.#session.output.progress(`${vm}: is just arriving on ${to} from ${from} (migration ${migration})`);
      await followMigration({
        client: this.#access.agent(from),
        id: migration,
        onEvent: () => undefined,
        signal: this.#signal,
      });
    }
    return arriving.length === 0 ? report : await this.#access.refresh(report, this.#options.nodes);
  }

  async #plan(report: ClusterReport): Promise<{ states: MoveState[]; stuck: Stuck[] }> {
    const { nodes, to } = this.#options;
    if (to !== null) answeringNode(report, to);
    const guests = nodes.map((node) => nodeGuests(answeringNode(report, node).status));
    const plan = await planMoves(
      guests.flatMap(({ movable }) => movable),
      this.#loads(report),
      this.#dryRun,
    );
    return {
      states: [...guests.flatMap((each) => each.underWay.map(underWay)), ...plan.moves.map(planned)],
      stuck: [...guests.flatMap((each) => each.stuck), ...plan.stuck],
    };
  }

  /** The nodes that VMs may go to. */
  #loads(report: ClusterReport): NodeLoad[] {
    const { nodes, to } = this.#options;
    return nodeLoads(report)
      .filter(({ node }) => to === null || node === to)
      .map((load) => (nodes.includes(load.node) ? { ...load, closed: toBeEmptied(load.node) } : load));
  }

  #tell(states: readonly MoveState[], stuck: readonly Stuck[]): void {
    const { output } = this.#session;
    if (states.length > 0) output.progress(moveTable(states));
    for (const line of stuckLines(stuck)) output.progress(line);
  }

  /** Prints it; how the nodes are now. */
  #result(now: ClusterReport, moves: readonly MoveState[], stuck: readonly Stuck[]): readonly EmptiedNode[] {
    const { nodes: names, dryRun, detach } = this.#options;
    const nodes = names.map((name): EmptiedNode => {
      const { status } = answeringNode(now, name);
      const there = (stopped: boolean) =>
        status.guests.flatMap((guest) => ((guest.status === 'stopped') === stopped ? [guest.name] : []));
      return { node: name, drained: status.node.drained, remaining: there(false), stopped: there(true) };
    });
    const report: EvacuationReport = { dryRun, nodes, moves, stuck };
    this.#session.output.result(report, () => {
      const moved = moves.filter(({ outcome }) => outcome === 'completed').length;
      const what = dryRun
        ? `${counted(moves.length, 'VM')} can leave, ${stuck.length} can't; nothing was changed`
        : detach
          ? `${counted(moves.length, 'VM')} asked to leave`
          : `${counted(moved, 'VM')} moved${redirectedNote(moves)}`;
      return [what, ...nodes.map(nodeLine)].join('\n');
    });
    return nodes;
  }
}

function toBeEmptied(node: string): Reason {
  return { node, code: 'node-drained', message: `node ${node} is to be emptied as well` };
}

function nodeLine({ node, drained, remaining, stopped }: EmptiedNode): string {
  return [
    `${node}: ${remaining.length === 0 ? 'no VM is started there' : `has ${remaining.join(', ')}`}`,
    ...(stopped.length > 0 ? [`defined there and not started, they stay: ${stopped.join(', ')}`] : []),
    ...(drained ? [`drained until 'vmferry undrain ${node}'`] : []),
  ].join('; ');
}
