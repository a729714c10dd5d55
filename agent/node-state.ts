import { join } from 'node:path';
import type { Logger } from 'pino';
import type { AgentConfig } from '../shared/config.js';
import { DrainState } from './drain-state.js';
import { DefinitionFiles } from './guest/definition-files.js';
import { guestKinds } from './guest/guest-kinds.js';
import type { GuestKinds } from './guest/hosted-guest.js';
import { runDirectoryOf } from './guest/qemu/process/run-directory.js';
import { type NodeGuests, openGuests } from './guest/open-guests.js';
import { OwnershipJournal } from './journal/ownership-journal.js';
import { lockStateDirectory } from './journal/state-directory.js';
import { MigrationHistory } from './source/migration-history.js';
import { WaitingRequests } from './source/waiting-requests.js';
import { type DirectoryLock, lockDirectory } from './system/directory-lock.js';

/** What a node keeps over restarts of its agent; this agent's alone until it is closed. */
export class NodeState {
  readonly journal: OwnershipJournal;
  readonly guests: NodeGuests;
  readonly kinds: GuestKinds;
  readonly history: MigrationHistory;
  readonly waiting: WaitingRequests;
  readonly drain: DrainState;
  readonly #locks: readonly DirectoryLock[];

  /** Takes the state directory and reads what is there: guests that run already are found again. */
  static async open(
    config: AgentConfig,
    logger: Logger,
    kinds: GuestKinds = guestKinds(config, logger),
  ): Promise<NodeState> {
    const { node, stateDirectory } = config;
    const locks = [await lockStateDirectory(stateDirectory)];
    try {
      // Also where it is in the state directory: another agent may name it.
      locks.push(await lockDirectory(runDirectoryOf(config), 'run directory', ['runDirectory']));
      const journal = await OwnershipJournal.open(journalDirectory(config));
      const drain = await DrainState.open(node, stateDirectory, logger);
      const guests = await openGuests({
        node,
        refuseArrivals: () => drain.refuseArrivals(),
        kinds,
        journal,
        files: new DefinitionFiles(join(stateDirectory, 'guests')),
        memoryLimitBytes: config.guestMemory,
        logger,
      });
      const history = await MigrationHistory.open(join(stateDirectory, 'history.jsonl'), logger);
      const waiting = new WaitingRequests(join(stateDirectory, 'waiting'), logger);
      return new NodeState({ journal, guests, kinds, history, waiting, drain }, locks);
    } catch (error) {
      release(locks);
      throw error;
    }
  }

  private constructor(
    parts: Pick<NodeState, 'journal' | 'guests' | 'kinds' | 'history' | 'waiting' | 'drain'>,
    locks: readonly DirectoryLock[],
  ) {
    this.journal = parts.journal;
    this.guests = parts.guests;
    this.kinds = parts.kinds;
    this.history = parts.history;
    this.waiting = parts.waiting;
    this.drain = parts.drain;
    this.#locks = locks;
  }

  /** Lets another agent have it. Ends no guests. */
  async close(): Promise<void> {
    await this.history.close();
    release(this.#locks);
  }
}

function release(locks: readonly DirectoryLock[]): void {
  for (const lock of locks) lock.release();
}

export function journalDirectory({ stateDirectory }: Pick<AgentConfig, 'stateDirectory'>): string {
  return join(stateDirectory, 'journal');
}
