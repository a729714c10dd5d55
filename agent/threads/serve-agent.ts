import { parentPort } from 'node:worker_threads';
import { type AgentCommand, END } from './agent-thread.js';

/** The worker's side of an AgentThread. */

const port = parentPort!;

export const reportToAgent = (report: unknown): void => port.postMessage(report);

/**
 * Takes commands, in the order in which they were said, until the agent ends the thread. It ends between two commands: one that is
 * stopped inside a native call takes the whole process with it, and one that is stopped before its command leaves what it was given.
 */
export function serveAgent<Command>(take: (command: Command) => void): void {
  port.on('message', (command: AgentCommand<Command>) => {
    if (command === END) process.exit();
    else take(command);
  });
}
