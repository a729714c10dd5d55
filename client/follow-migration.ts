import { setTimeout as delayMs } from 'node:timers/promises';
import type { MigrationEvent, MigrationResult } from '../shared/api.js';
import { MigrationError, type ErrorCode } from '../shared/errors.js';
import type { AgentClient } from './agent-client.js';

/** Waits before each new try when the connection to the agent broke: an agent that restarts is back in a few seconds. ms */
export const RECONNECT_DELAYS_MS: readonly number[] = [250, 500, 1000, 2000, 4000, 4000];

/** Failures of a stream after which a new try may go well. */
export const RECONNECTABLE = new Set<ErrorCode>([
  'link-lost',
  'peer-unreachable',
  'shutting-down',
  'limit-exceeded',
]);

export interface FollowOptions {
  readonly client: Pick<AgentClient, 'migrationEvents' | 'url'>;
  readonly id: string;
  readonly onEvent: (event: MigrationEvent) => void;
  /** Fires when nobody wants to know any more. */
  readonly signal: AbortSignal;
  readonly delay?: (ms: number) => Promise<unknown>;
}

/**
 * Follows a migration to its end, each event once, over broken connections too. Throws outcome-unknown if the agent
 * can't be followed any more, with words on how to look; the migration may go on.
 */
export async function followMigration(options: FollowOptions): Promise<MigrationResult> {
  const { client, id, onEvent, signal, delay = delayMs } = options;
  let after = -1;
  let tries = 0;
  for (;;) {
    let failure: MigrationError;
    try {
      for await (const event of client.migrationEvents(id, after, signal)) {
        after = event.seq;
        tries = 0;
        onEvent(event);
        if (event.event === 'ended') return event.result;
      }
      failure = new MigrationError('link-lost', 'the stream of events ended before the migration');
    } catch (thrown) {
      if (!(thrown instanceof MigrationError)) throw thrown;
      failure = thrown;
    }
    const wait = RECONNECT_DELAYS_MS[tries];
    if (signal.aborted) throw lost(client, id, 'you stopped following it', failure);
    if (!RECONNECTABLE.has(failure.code) || wait === undefined)
      throw lost(client, id, failure.message, failure);
    tries += 1;
    await delay(wait);
  }
}

function lost(client: { url: string }, id: string, reason: string, cause: Error): MigrationError {
  return new MigrationError(
    'outcome-unknown',
    `migration ${id} can't be followed any more: ${reason}. It may go on; look with 'vmferry status --agent ${client.url}'`,
    { cause },
  );
}
