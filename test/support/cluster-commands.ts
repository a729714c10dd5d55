import { setImmediate } from 'node:timers/promises';
import type { Test } from 'tap';
import { EXIT } from '../../shared/api.js';
import { FakeTerminal, runCommand } from './api-terminal.js';
import type { Cluster } from './cluster.js';

/** Commands over a whole cluster, and what they are to find and leave. */

/** So slow that it goes on until its limit is lifted; and then with this round as its last. */
export const SLOW = ['--bandwidth', '64kbit', '--max-rounds', '1'];

/** `vmferry`, asking the agent of a node. */
export async function vmferry(cluster: Cluster, node: string, args: string[], terminal = new FakeTerminal()) {
  return await runCommand([...args, '--agent', cluster.agent(node).url], terminal);
}

/** The JSON that it prints, its exit code checked. */
export async function report<Report>(
  t: Test,
  cluster: Cluster,
  node: string,
  args: string[],
  exitCode: number = EXIT.done,
) {
  const outcome = await vmferry(cluster, node, [...args, '--json']);
  t.equal(outcome.exitCode, exitCode, `${args.join(' ')}: ${outcome.stderr}`);
  return JSON.parse(outcome.stdout) as Report;
}

/** The one node that has the guest, which runs there. */
export function nodeOf(t: Test, cluster: Cluster, vm: string): string {
  const places = cluster.whereIs(vm);
  t.match(places, [{ status: 'running' }], vm);
  return places[0]!.node;
}

/** Waits until a migration from the node copies and so many others wait. */
export async function busy(cluster: Cluster, node: string, waiting: number): Promise<void> {
  const agent = cluster.agent(node);
  const count = (phase: string) =>
    agent.migrations().filter((each) => each.role === 'source' && each.phase === phase).length;
  while (count('copying') < 1 || count('queued') < waiting) await setImmediate();
}

/** Lets all migrations from a node go as fast as they can. */
export function unleash(cluster: Cluster, node: string): void {
  const agent = cluster.agent(node);
  for (const { id, phase, role } of agent.migrations()) {
    if (phase !== 'ended' && role === 'source') agent.limitMigration(id, 0);
  }
}
