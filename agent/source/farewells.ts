import type { Logger } from 'pino';
import { toMigrationError } from '../../shared/errors.js';
import { delay, type Timers } from '../../shared/timers.js';
import type { NodeAddress } from '../node-address.js';
import type { OwnershipJournal } from '../journal/ownership-journal.js';
import type { PeerDialer } from './peer-dialer.js';

/** Between two attempts to reach a target: one costs a connection, and who is back is told soon. ms */
const PAUSE_MS = 5_000;

export interface FarewellsContext {
  readonly journal: OwnershipJournal;
  readonly dialer: Pick<PeerDialer, 'sayGoodbye'>;
  readonly logger: Logger;
  readonly timers: Pick<Timers, 'after'>;
  /** Where the agent of a node is; undefined if the configuration does not say. */
  readonly address: (node: string) => NodeAddress | undefined;
  /** Ends it all, for the end of the agent. */
  readonly signal: AbortSignal;
}

/**
 * Tells targets that guests which moved to them are settled here, where they could not be told at once: until then they keep a
 * record of each, since they might still be asked.
 */
export class Farewells {
  readonly #context: FarewellsContext;
  /** Peers that are being told. */
  readonly #telling = new Set<string>();

  constructor(context: FarewellsContext) {
    this.#context = context;
  }

  /** Looks for targets that are to be told, and tells them in the background. */
  start(): void {
    for (const { peer, decision } of this.#context.journal.entries()) {
      if (decision === 'released' && !this.#telling.has(peer)) void this.#tell(peer);
    }
  }

  async #tell(peer: string): Promise<void> {
    const { journal, dialer, address, timers, signal, logger } = this.#context;
    const target = address(peer);
    // A configuration that names it again comes with another run of the agent.
    if (!target) return;
    this.#telling.add(peer);
    const next = () =>
      journal.entries().find((entry) => entry.peer === peer && entry.decision === 'released');
    for (let entry = next(); entry && !signal.aborted; entry = next()) {
      try {
        await dialer.sayGoodbye(target, entry.migration, signal);
        await journal.forget(entry.migration);
      } catch (thrown) {
        const { message } = toMigrationError(thrown);
        logger.debug(
          { migration: entry.migration, peer, reason: message },
          'the target could not be told yet',
        );
        await delay(timers, PAUSE_MS, signal);
      }
    }
    this.#telling.delete(peer);
  }
}
