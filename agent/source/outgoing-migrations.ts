import type { HistoryEntry, MigrationInfo } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import {
  type OutgoingContext,
  OutgoingMigration,
  type OutgoingRequest,
  resultWithoutSession,
} from './outgoing-migration.js';
import type { WaitingRequest } from './waiting-requests.js';

/** Migrations that may wait or run: bounds what a client can make the agent keep. */
const MAX_WAITING = 1024;

/** Migrations that are remembered after their end, with their events. */
const MAX_ENDED = 100;

/** All migrations from this node: those that wait, those that run, and the last that have ended. */
export class OutgoingMigrations {
  readonly #context: OutgoingContext;
  /** Newest last. */
  readonly #all = new Map<string, OutgoingMigration>();

  constructor(context: OutgoingContext) {
    this.#context = context;
  }

  /** Throws limit-exceeded if there can be no more. */
  checkRoom(): void {
    if ([...this.#all.values()].filter(({ result }) => !result).length < MAX_WAITING) return;
    throw new MigrationError('limit-exceeded', `${MAX_WAITING} migrations from this node wait already`);
  }

  start(request: OutgoingRequest): OutgoingMigration {
    const migration = new OutgoingMigration(this.#context, request);
    this.#all.set(request.id, migration);
    const ended = [...this.#all.values()].filter(({ result }) => result && result.outcome !== 'unknown');
    for (const { id } of ended.slice(0, Math.max(0, ended.length - MAX_ENDED))) this.#all.delete(id);
    return migration;
  }

  /** One that waited for its nodes before the agent started, and can't any more. */
  fail({ id, vm, to, options, requestedAt }: WaitingRequest, error: MigrationError): void {
    const { node, history, logger } = this.#context;
    logger.error(
      { migration: id, vm, err: error },
      'a migration that waited when the agent ended can not go on',
    );
    const result = resultWithoutSession({ id, vm, from: node, to }, 0, options.verify, error);
    history.add(new Date(requestedAt).toISOString(), result);
  }

  /** Also of one that ended long ago. Throws not-found. */
  async info(id: string): Promise<MigrationInfo> {
    const migration = this.#all.get(id);
    if (migration) return migration.info();
    const past = await this.#context.history.result(id);
    if (!past) throw this.#notFound(id);
    const { result, requestedAt } = past;
    const { vm, from, to } = result;
    return {
      ...{ id, vm, from, to, requestedAt, result },
      role: 'source',
      phase: 'ended',
      bandwidthBytesPerSecond: null,
      progress: null,
      copying: null,
      queue: null,
    };
  }

  /** Those that have ended, also in earlier runs of the agent, the last one first. */
  history(): HistoryEntry[] {
    return this.#context.history.list();
  }

  /** Throws not-found. */
  get(id: string): OutgoingMigration {
    const migration = this.#all.get(id);
    if (migration) return migration;
    throw this.#notFound(id);
  }

  #notFound(id: string): MigrationError {
    return new MigrationError(
      'not-found',
      `no migration ${id} started on node ${this.#context.node}: ask the agent of the node that it started from`,
    );
  }

  /** Newest first. Results are without their rounds, of which there may be thousands: who lists does not need them. */
  list(): MigrationInfo[] {
    return [...this.#all.values()].reverse().map((migration) => {
      const { result, ...info } = migration.info();
      return { ...info, result: result && { ...result, rounds: [] } };
    });
  }

  /** Leaves those that wait to the next run, finishes (for so long at most) or cancels those that run, and says of each what became of it. */
  async close(policy: 'finish' | 'cancel', timeoutMs: number): Promise<void> {
    await Promise.all([...this.#all.values()].map((migration) => this.#end(migration, policy, timeoutMs)));
  }

  async #end(migration: OutgoingMigration, policy: 'finish' | 'cancel', timeoutMs: number): Promise<void> {
    await migration.leave();
    if (!migration.result && migration.phase !== 'queued') {
      let timer: NodeJS.Timeout | undefined;
      if (policy === 'finish') {
        const timeout = new Promise((resolve) => (timer = setTimeout(resolve, timeoutMs)));
        await Promise.race([migration.ended, timeout]);
        clearTimeout(timer);
      }
      // One that is past its commit is not cancelled but waited for.
      if (!migration.result) await migration.cancel().catch(() => undefined);
      await migration.ended;
      const outcome = migration.info().result?.outcome;
      this.#context.logger.info(
        { migration: migration.id, vm: migration.vm, outcome },
        'migration ended before the shutdown',
      );
    }
    migration.dispose();
  }
}
