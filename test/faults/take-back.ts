import { EXIT, type OutcomeReport } from '../../shared/api.js';
import { eventually } from './eventually.js';
import { type FaultPair, type NodeName, otherNode } from './fault-pair.js';

/** Within what time a source learns that a target is back, and what it had decided. ms */
const ANSWER_LIMIT_MS = 30_000;

/**
 * What an operator does with a guest that is held on `from` while its target is gone for good, in the words of `vmferry vm resolve`:
 * fences the target, lets the guest go on here, and ends the copy there when the target comes back with one. What was not as it should be.
 */
export async function takeBack(pair: FaultPair, vm: string, from: NodeName): Promise<string[]> {
  const to = otherNode(from);
  const violations: string[] = [];
  const run = async (node: NodeName, command: string, exitCode: number) => {
    const [, ...args] = command.split(' ');
    const done = await pair.lab.command(node, ...args);
    if (done.exitCode !== exitCode) {
      violations.push(
        `${command}: exit code ${done.exitCode} instead of ${exitCode}: ${done.stdout}${done.stderr}`,
      );
    }
    return done.stdout;
  };
  const resolve = `vmferry vm resolve ${vm}`;
  const { open } = JSON.parse(await run(from, `${resolve} --json`, EXIT.unknown)) as OutcomeReport;
  const choice = open?.choices.find(({ owner }) => owner === from);
  if (!choice) return [...violations, `${resolve} does not say how to have the guest back`];
  await run(from, `${resolve} --owner ${from}`, EXIT.unknown);
  await pair.fence(to);
  await run(from, choice.command, EXIT.done);
  const { status } = await pair.client(from).guest(vm);
  if (status !== 'running') violations.push(`the guest that was taken back is ${status}`);

  await pair.restart(to);
  const [copy] = await pair.client(to).guests();
  if (!copy) return violations;
  if (copy.status === 'running') violations.push('the target that is back runs a guest that was taken back');
  const unheard = await eventually(ANSWER_LIMIT_MS, async () => {
    const { failure } = await pair.client(from).guest(vm);
    return failure?.includes('there are two') === true
      ? []
      : [`nobody says that there are two guests (${failure})`];
  });
  violations.push(...unheard);
  await run(to, `vmferry vm stop ${vm}`, EXIT.done);
  await run(to, `vmferry vm undefine ${vm}`, EXIT.done);
  await run(from, `${resolve} --owner ${from}`, EXIT.done);
  return violations;
}
