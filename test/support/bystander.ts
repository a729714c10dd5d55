import type { Test } from 'tap';
import type { AgentClient } from '../../client/agent-client.js';

/** Name of the guest that AgentLab boots for it: it prints all the time. */
export const BYSTANDER = { name: 'healthy', program: 'ticker', parameters: { intervalMs: 10 } } as const;

/** The agent answers, that guest goes on, and of an intruder nothing is left: no guest, no memory, no lock. */
export async function bystanderIsWell(t: Test, client: AgentClient): Promise<void> {
  const { name } = BYSTANDER;
  const { consoleBytes } = await client.guest(name);
  const leave = new AbortController();
  for await (const chunk of client.followConsole(name, consoleBytes, leave.signal)) {
    t.ok(chunk.end > consoleBytes, 'the guest goes on');
    break;
  }
  leave.abort();
  // What a connection leaves behind is cleared away a moment after its end, a lock after the grace period.
  let status = await client.status();
  while (status.guests.length > 1 || (await client.queue()).length > 0) status = await client.status();
  t.match(status, {
    node: { node: 'a', guests: 1, memoryUsedBytes: 2 ** 20 },
    guests: [{ name, status: 'running' }],
  });
}
