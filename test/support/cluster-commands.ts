import { setImmediate } from 'node:timers/promises';
import type { Test } from 'tap';
import { EXIT } from '../../shared/api.js';
import { FakeTerminal, runCommand } from './api-terminal.js';
import type { Cluster } from './cluster.js';

/** Commands over a whole cluster, and what they are to find and leave. */

/** Instructions after which a guest of bootFull has written all of its working set. */
const FULL_AFTER = 10_000;

/** Boots a guest with 200 pages in use: SLOW, they take 100 s. */
export async function bootFull(cluster: Cluster, node: string, name: string): Promise<void> {
  const parameters = { workingSetPages: 200, pagesPerSecond: 2000 };
  await cluster.boot(node, { name, program: 'dirty', parameters });
  const written = () => Number(cluster.service(node).guest(name).machine.retiredInstructions) >= FULL_AFTER;
  while (!written()) await setImmediate();
}

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
  const service = cluster.service(node);
  const count = (phase: string) =>
    service.migrations().filter((each) => each.role === 'source' && each.phase === phase).length;
  while (count('copying') < 1 || count('queued') < waiting) await setImmediate();
}

/** Lets all migrations from a node go as fast as they can. */
export function unleash(cluster: Cluster, node: string): void {
  const service = cluster.service(node);
  for (const { id, phase, role } of service.migrations()) {
    if (phase !== 'ended' && role === 'source') service.limitMigration(id, 0);
  }
}
