import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { ReadinessReport } from '../shared/api.js';
import { delay, systemTimers, type Timers } from '../shared/timers.js';

/** Written, read and removed again in the directories that are looked at; neither reads it as one of its own. */
const PROBE_FILE = '.readiness';

/** A directory that does not answer for so long is not ready: a disk or a network file system that hangs. ms */
export const PROBE_TIMEOUT_MS = 2000;

/** Who asks more often is told what was found last: strangers may ask, and must not wear out a disk. ms */
export const PROBE_INTERVAL_MS = 1000;

export interface ReadinessOptions {
  /** Where decisions are written. */
  readonly journal: string;
  readonly stateDirectory: string;
  readonly closing: () => boolean;
  /** Which does not make it unready: who watches would take it for a fault, and VMs could not leave by it. */
  readonly drained: () => boolean;
  readonly logger: Pick<Logger, 'info' | 'error'>;
  readonly timers?: Timers;
}

/** Whether a node can take part in migrations. What is wrong is in the log, when that changes. */
export class Readiness {
  readonly #options: ReadinessOptions;
  readonly #timers: Timers;
  readonly #journal: DirectoryProbe;
  readonly #stateDirectory: DirectoryProbe;
  #logged = '';

  constructor(options: ReadinessOptions) {
    this.#options = options;
    this.#timers = options.timers ?? systemTimers;
    this.#journal = new DirectoryProbe(options.journal, this.#timers);
    this.#stateDirectory = new DirectoryProbe(options.stateDirectory, this.#timers);
  }

  async report(): Promise<ReadinessReport> {
    const [journal, stateDirectory] = await Promise.all([this.#journal.look(), this.#stateDirectory.look()]);
    const failing: ReadinessReport['failing'] = [];
    if (journal !== null) failing.push('journal');
    if (stateDirectory !== null) failing.push('state-directory');
    if (this.#options.closing()) failing.push('shutting-down');
    this.#log(failing, { journal, stateDirectory });
    const remarks: ReadinessReport['remarks'] = this.#options.drained() ? ['drained'] : [];
    return { ready: failing.length === 0, failing, remarks };
  }

  #log(failing: ReadinessReport['failing'], reasons: object): void {
    const now = failing.join();
    if (now === this.#logged) return;
    this.#logged = now;
    if (now === '') this.#options.logger.info('the agent is ready again');
    else this.#options.logger.error({ failing, ...reasons }, 'the agent is not ready for migrations');
  }
}

/** Whether files can be written to a directory and read back. */
class DirectoryProbe {
  readonly #path: string;
  readonly #timers: Timers;
  #found: Promise<string | null> | null = null;
  #foundAt = -Infinity;
  /** Goes on behind the timeout: a second one would only hang as well, in another thread. */
  #probing: Promise<string | null> | null = null;

  constructor(directory: string, timers: Timers) {
    this.#path = join(directory, PROBE_FILE);
    this.#timers = timers;
  }

  /** Why not; null if they can. */
  look(): Promise<string | null> {
    const now = this.#timers.now();
    if (this.#found && now - this.#foundAt < PROBE_INTERVAL_MS) return this.#found;
    this.#foundAt = now;
    return (this.#found = this.#probe());
  }

  async #probe(): Promise<string | null> {
    this.#probing ??= writeAndRead(this.#path).finally(() => (this.#probing = null));
    const probed = new AbortController();
    const timeout = delay(this.#timers, PROBE_TIMEOUT_MS, probed.signal);
    const found = await Promise.race([
      this.#probing,
      timeout.then(() => `${this.#path} could not be written and read within ${PROBE_TIMEOUT_MS} ms`),
    ]);
    probed.abort();
    return found;
  }
}

async function writeAndRead(path: string): Promise<string | null> {
  const content = `${process.pid}\n`;
  try {
    await writeFile(path, content, { mode: 0o600 });
    if ((await readFile(path, 'utf8')) !== content) return `${path} does not have what was written to it`;
    await rm(path);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
