import { setTimeout as delayMs } from 'node:timers/promises';
import type { ConsoleEnd } from '../../shared/api.js';
import { MigrationError, type ErrorCode } from '../../shared/errors.js';
import type { AgentClient } from '../../client/agent-client.js';
import { RECONNECT_DELAYS_MS, RECONNECTABLE } from '../../client/follow-migration.js';

/** What else may pass by itself on the node that a VM has just moved to: its agent may hear of that a moment later. */
const PASSING_AFTER_A_MOVE = new Set<ErrorCode>(['not-found', 'wrong-state']);

export type ConsoleSource = Pick<AgentClient, 'followConsole' | 'url'>;

export interface ConsoleFollowOptions {
  readonly client: ConsoleSource;
  readonly name: string;
  readonly position: number;
  /** Takes the bytes printed, in order, each once; resolves when more may follow. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  /** A client of the agent that the VM moved to; called before its console is followed there. */
  readonly connect: (url: string) => ConsoleSource;
  /** Something that whoever watches should know. */
  readonly remark: (line: string) => void;
  readonly signal: AbortSignal;
  /** Waits before each new try in a row. ms */
  readonly delaysMs?: readonly number[];
  readonly delay?: (ms: number) => Promise<unknown>;
}

/**
 * Follows a console from agent to agent, without a gap and without a repetition, until the VM stops or has finished.
 * Returns how it ended, null if `signal` fired. Throws what the last try failed with.
 */
export async function followConsole(options: ConsoleFollowOptions): Promise<ConsoleEnd | null> {
  const { name, write, connect, remark, signal } = options;
  const { delaysMs = RECONNECT_DELAYS_MS, delay = delayMs } = options;
  let { client, position } = options;
  let tries = 0;
  let moved = false;
  // what was printed before the first chunk and is not kept was not asked for
  let begun = false;
  for (;;) {
    try {
      const chunks = client.followConsole(name, position, signal);
      let next = await chunks.next();
      for (; next.done !== true; next = await chunks.next()) {
        tries = 0;
        const chunk = next.value;
        if (begun && chunk.position > position) {
          remark(`${chunk.position - position} bytes of the console of ${name} are missing: no longer kept`);
        }
        begun = true;
        // nothing was printed as far as `position` yet, as after a start anew: this is where the console ends
        if (chunk.text === '') position = Math.min(position, chunk.end);
        const bytes = Buffer.from(chunk.text, 'latin1').subarray(Math.max(0, position - chunk.position));
        position = Math.max(position, chunk.end);
        await write(bytes);
      }
      const end = next.value;
      if (end === null) throw new MigrationError('link-lost', `the console of ${name} broke off`);
      if (end.reason !== 'moved') return end;
      if (end.to === null) {
        throw new MigrationError(
          'not-found',
          `${name} moved to a node whose address this agent does not know`,
        );
      }
      remark(`${name} moved to ${end.to.node}; its console goes on there`);
      client = connect(end.to.url);
      moved = true;
      begun = true;
      tries = 0;
    } catch (thrown) {
      if (signal.aborted) return null;
      if (!(thrown instanceof MigrationError)) throw thrown;
      const passing = RECONNECTABLE.has(thrown.code) || (moved && PASSING_AFTER_A_MOVE.has(thrown.code));
      const wait = delaysMs[tries];
      if (!passing || wait === undefined) throw thrown;
      tries += 1;
      await delay(wait);
    }
  }
}
