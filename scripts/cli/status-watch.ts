import { setTimeout as delayMs } from 'node:timers/promises';
import type { ClusterNode } from '../../shared/api.js';
import { toMigrationError } from '../../shared/errors.js';
import { RECONNECTABLE } from '../../client/follow-migration.js';
import type { StatusDisplay } from './status-screen.js';

/** An agent that has not answered for so long is said to be silent, and asked anew. ms */
export const ANSWER_TIMEOUT_MS = 10_000;

export interface WatchOptions {
  /** Asks the nodes how they are. */
  readonly look: (signal: AbortSignal) => Promise<readonly ClusterNode[]>;
  readonly display: StatusDisplay;
  /** Between an answer and the next question. ms */
  readonly intervalMs: number;
  /** Fires when nobody looks any more. */
  readonly signal: AbortSignal;
  readonly delay?: (ms: number, signal: AbortSignal) => Promise<unknown>;
  readonly now?: () => number;
}

/**
 * Shows the nodes until `signal` fires, from the reports that there are on. An agent that is gone is asked again and again: it may be
 * back any time. Throws where that is of no use.
 */
export async function watchStatus(first: readonly ClusterNode[], options: WatchOptions): Promise<void> {
  const { look, display, intervalMs, signal, delay = delayUntil, now = Date.now } = options;
  let nodes = first;
  let since: number | null = null;
  display.show({ nodes, failure: null });
  for (;;) {
    await delay(intervalMs, signal);
    if (signal.aborted) return;
    const timeout = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    try {
      nodes = await look(AbortSignal.any([signal, timeout]));
      since = null;
      display.show({ nodes, failure: null });
    } catch (thrown) {
      if (signal.aborted) return;
      const error = toMigrationError(thrown);
      if (!timeout.aborted && !RECONNECTABLE.has(error.code)) throw error;
      since ??= now();
      const reason = timeout.aborted ? 'the agent is silent' : error.message;
      display.show({ nodes, failure: { reason, since } });
    }
  }
}

async function delayUntil(ms: number, signal: AbortSignal): Promise<void> {
  await delayMs(ms, undefined, { signal }).catch(() => undefined);
}
