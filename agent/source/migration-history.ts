import { createReadStream } from 'node:fs';
import { appendFile, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import type { Logger } from 'pino';
import type { HistoryEntry, MigrationResult } from '../../shared/api.js';
import { hasCode } from '../system/system-call-error.js';
import { writeAtomic } from '../system/write-synced.js';

/** Ended migrations that are kept. */
export const KEPT_RESULTS = 1000;

/** Rounds of one that are kept, half of them the first ones: the limit of rounds is an option, and can be far above. */
const KEPT_ROUNDS = 200;

/** A line of the file. */
interface PastMigration {
  requestedAt: string;
  endedAt: string;
  result: MigrationResult;
}

/**
 * Migrations from this node that have ended, over restarts of the agent: one JSON document a line, the last line of an id being the
 * one that counts (an outcome that was not known is written again once it is). Nothing depends on it: what can't be written is logged.
 */
export class MigrationHistory {
  readonly #file: string;
  readonly #logger: Logger;
  /** Without their rounds. In the order in which they ended. */
  readonly #entries: Map<string, HistoryEntry>;
  #lines: number;
  /** Whether the file may end within a line: the disk was full, or an earlier run was cut off. */
  #cutOff = true;
  #writing: Promise<void> = Promise.resolve();

  private constructor(file: string, logger: Logger, entries: Map<string, HistoryEntry>, lines: number) {
    this.#file = file;
    this.#logger = logger;
    this.#entries = entries;
    this.#lines = lines;
  }

  static async open(file: string, logger: Logger): Promise<MigrationHistory> {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const entries = new Map<string, HistoryEntry>();
    let lines = 0;
    for await (const past of readPast(file, logger)) {
      lines += 1;
      put(entries, entryOf(past));
    }
    return new MigrationHistory(file, logger, entries, lines);
  }

  /** The last that ended first. */
  list(): HistoryEntry[] {
    return [...this.#entries.values()].reverse();
  }

  /** All that is kept of one; null if it is not, or no more. */
  async result(id: string): Promise<PastMigration | null> {
    if (!this.#entries.has(id)) return null;
    await this.#writing;
    let found: PastMigration | null = null;
    for await (const past of readPast(this.#file, this.#logger)) if (past.result.id === id) found = past;
    return found;
  }

  add(requestedAt: string, result: MigrationResult): void {
    const past = { requestedAt, endedAt: new Date().toISOString(), result: withFewRounds(result) };
    put(this.#entries, entryOf(past));
    this.#writing = this.#writing
      .then(() => this.#append(past))
      .catch((error: unknown) => {
        const text = `the history of migrations ${this.#file} can't be written: free or mend that disk`;
        this.#logger.warn({ err: error }, text);
      });
  }

  /** Resolves once all that was added is written, or is known not to be. */
  async close(): Promise<void> {
    await this.#writing;
  }

  async #append(past: PastMigration): Promise<void> {
    const line = `${this.#cutOff ? '\n' : ''}${JSON.stringify(past)}\n`;
    this.#cutOff = true;
    await appendFile(this.#file, line, { mode: 0o600 });
    this.#cutOff = false;
    this.#lines += 1;
    if (this.#lines < 2 * KEPT_RESULTS) return;
    const kept = new Map<string, string>();
    for await (const each of readPast(this.#file, this.#logger)) {
      if (this.#entries.has(each.result.id)) kept.set(each.result.id, JSON.stringify(each));
    }
    await writeAtomic(this.#file, [...kept.values(), ''].join('\n'));
    this.#lines = kept.size;
  }
}

function put(entries: Map<string, HistoryEntry>, entry: HistoryEntry): void {
  entries.delete(entry.id);
  entries.set(entry.id, entry);
  const [oldest] = entries.keys();
  if (entries.size > KEPT_RESULTS && oldest !== undefined) entries.delete(oldest);
}

function entryOf({ requestedAt, endedAt, result }: PastMigration): HistoryEntry {
  const { id, vm, from, to, outcome, error, totalMs, queuedMs, downtimeMs, wireBytes, rounds } = result;
  return {
    ...{ id, vm, from, to, requestedAt, endedAt, outcome, error, totalMs, queuedMs, downtimeMs, wireBytes },
    rounds: rounds.length,
  };
}

function withFewRounds(result: MigrationResult): MigrationResult {
  const { rounds } = result;
  if (rounds.length <= KEPT_ROUNDS) return result;
  return { ...result, rounds: [...rounds.slice(0, KEPT_ROUNDS / 2), ...rounds.slice(-KEPT_ROUNDS / 2)] };
}

/** A line that is none, as the end of a file whose disk was full, is left out. */
async function* readPast(file: string, logger: Logger): AsyncGenerator<PastMigration, void> {
  const stream = createReadStream(file);
  try {
    for await (const line of createInterface({ input: stream, crlfDelay: Infinity })) {
      const past = parsed(line);
      if (past) yield past;
      else if (line !== '') logger.debug({ file }, 'a line of the history is none');
    }
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  } finally {
    stream.destroy();
  }
}

function parsed(line: string): PastMigration | null {
  try {
    const past = JSON.parse(line) as Partial<PastMigration> | null;
    return typeof past?.result?.id === 'string' && Array.isArray(past.result.rounds)
      ? (past as PastMigration)
      : null;
  } catch {
    return null;
  }
}
