import type { ClusterReport } from '../../../shared/api.js';
import { MigrationError, toMigrationError } from '../../../shared/errors.js';
import type { ClusterAccess } from '../cluster-access.js';
import type { ExitCode } from '../exit-code.js';
import type { Session } from '../session.js';
import { moveShow } from './move-show.js';
import { type Candidate, nodeGuests } from './node-guests.js';
import type { DryRun, Move } from './plan-moves.js';
import { type MoveState, runMoves, type RunOptions } from './run-moves.js';

/** What every command that moves several VMs can be told. */
export interface MovesOptions extends Pick<RunOptions, 'request' | 'onFailure'> {
  readonly dryRun: boolean;
  readonly detach: boolean;
}

/** The option for it. */
export const onFailureOption = {
  choices: ['stop', 'continue'] as const,
  requiresArg: true,
  describe: 'when one of several VMs fails: cancel the moves that wait (stop), or go on with them (continue)',
  defaultDescription: 'stop',
};

/** Throws invalid-request unless one of two arguments is given: what is meant by either is shown. */
export function eitherOr(one: string | undefined, all: string | undefined, ...lines: [string, string]): void {
  if ((one === undefined) !== (all === undefined)) return;
  const examples = lines.map((line) => `'vmferry ${line}'`).join(' or ');
  throw new MigrationError('invalid-request', `one of two is to be named: ${examples}`);
}

/** Preflight as the agents do it, for planning. */
export function realDryRun(access: ClusterAccess, { request }: MovesOptions, signal: AbortSignal): DryRun {
  return async ({ vm, from, to }) => {
    signal.throwIfAborted();
    try {
      return (await access.at(from, (agent) => agent.preflight({ vm, to, options: request.options })))
        .findings;
    } catch (thrown) {
      const { code, message } = toMigrationError(thrown);
      // Who may not ask there may not move anything from there.
      if (code === 'unauthenticated' || code === 'not-allowed') throw thrown;
      return [{ level: 'refusal', code, message }];
    }
  };
}

/** Plans moves by a plan of the command for other nodes than those that have failed, if their VMs are well where they are. */
export function redirection(
  access: ClusterAccess,
  dryRun: DryRun,
  plan: (
    candidates: readonly Candidate[],
    report: ClusterReport,
    dryRun: DryRun,
  ) => Promise<{ readonly moves: readonly Move[] }>,
): NonNullable<RunOptions['redirect']> {
  return async (failed) => {
    const targets = new Map(
      failed.map(({ vm, from, to: node, error, failedTargets }) => [
        `${vm} ${from}`,
        [...failedTargets, { node, error }],
      ]),
    );
    const report = await access.look();
    const well = report.nodes.flatMap(({ status }) => (status ? nodeGuests(status).movable : []));
    const candidates = well.filter(({ vm, from }) => targets.has(`${vm} ${from}`));
    const elsewhere: DryRun = async (move) => {
      const error = targets.get(`${move.vm} ${move.from}`)?.find(({ node }) => node === move.to)?.error;
      return error ? [{ level: 'refusal', code: error.code, message: error.message }] : await dryRun(move);
    };
    return (await plan(candidates, report, elsewhere)).moves;
  };
}

/** What a number of moves is told with: how many of them went to another node than was planned. */
export function redirectedNote(states: readonly MoveState[]): string {
  const moved = states.filter(
    ({ outcome, failedTargets }) => outcome === 'completed' && failedTargets.length > 0,
  );
  return moved.length === 0 ? '' : `, ${moved.length} of them to the next best node since another one failed`;
}

/** Runs `action` with a signal that Ctrl-C fires: what was asked for by then goes on. */
export async function untilInterrupted(
  { terminal }: Session,
  action: (signal: AbortSignal) => Promise<ExitCode>,
): Promise<ExitCode> {
  const leaving = new AbortController();
  const stopListening = terminal.onInterrupt(() =>
    leaving.abort(new MigrationError('cancelled', 'you ended this before anything was moved')),
  );
  try {
    return await action(leaving.signal);
  } finally {
    stopListening();
  }
}

/** Moves them, shows it, and says what an end before the end means. `resume`: the command that goes on with it. */
export async function moveAll(
  session: Session,
  states: readonly MoveState[],
  options: Omit<RunOptions, 'show'>,
  resume: string,
): Promise<void> {
  const { output } = session;
  const show = moveShow(session, states.length);
  const failed = await runMoves(states, { ...options, show });
  show.stop();
  const sources = [...new Set(states.map(({ from }) => from))];
  const going = states.filter(
    ({ migration, outcome, error }) => migration !== null && outcome === null && error === null,
  );
  const cancel = sources.map((from) => `'vmferry cancel --all-from ${from}'`).join(', ');
  if (failed) {
    const left = states.filter(({ outcome }) => outcome !== 'completed' && outcome !== 'failed').length;
    output.remark(
      `stopped, since ${failed.vm} ${failed.outcome === 'cancelled' ? 'was cancelled' : 'failed'}: what waited is cancelled, ${left} of ${states.length} not moved. ` +
        `Go on with '${resume}', past failures with '${resume} --on-failure continue'`,
    );
  } else if (options.signal.aborted) {
    output.remark(
      `you stopped following; ${going.length} of ${states.length} go on by themselves ('vmferry queue' shows them). ` +
        `Cancel what waits with ${cancel}; follow and go on with '${resume}'`,
    );
  } else if (!options.follow) {
    output.remark(
      `${going.length} of ${states.length} go on by themselves: see them with 'vmferry queue', cancel what waits with ${cancel}`,
    );
  }
}
