import { closeSync, openSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { MigrationError, toMigrationError } from '../../../../shared/errors.js';
import { type Run, unionRuns } from '../../../../shared/page.js';
import { isAlive } from '../../../system/process-status.js';
import { clearSoftDirty, readSoftDirty } from '../../../system/soft-dirty.js';
import { withProcessStopped } from '../../../system/stop-process.js';
import { ThreadBusyError } from '../../../system/traced-thread.js';
import type { WriteLog } from '../../guest.js';
import { type GuestMapping, readGuestMappings, refuseNewMappings, runsIn } from './guest-mappings.js';
import type { TrackedRegion } from './tracked-region.js';
import { VanishedPages } from './vanished-pages.js';

/** A thread that sleeps deep in the kernel can't be stopped now: how often that is tried, and how long is waited between. */
const MAX_ATTEMPTS = 20;
const RETRY_MS = 10;

/**
 * Follows the writes of a process by the soft-dirty bits of its page tables, for kernels before Linux 6.7.
 *
 * Bits are read and cleared in two steps, so all threads of the process stand still meanwhile: some milliseconds for
 * each GiB. The bit of a page is lost when the kernel takes the page out of the page tables, as it does to swap it out: see
 * softDirtyHazard.
 */
export class SoftDirtyLog implements WriteLog {
  readonly kind = 'soft-dirty';
  readonly reason: string;
  readonly #pid: number;
  readonly #regions: readonly TrackedRegion[];
  readonly #vanished: VanishedPages;
  #tracking: { pagemap: number; mappings: GuestMapping[] } | null = null;

  /** `givesBack`: see VanishedPages. */
  constructor(pid: number, regions: readonly TrackedRegion[], reason: string, givesBack: () => boolean) {
    this.#pid = pid;
    this.#regions = regions;
    this.#vanished = new VanishedPages(regions, givesBack);
    this.reason = reason;
  }

  /** Throws tracking-failed, as all of it does; guest-failed if the process has ended. */
  async start(): Promise<void> {
    await this.stop();
    await this.#attempt(() => {
      const mappings = readGuestMappings(this.#pid, this.#regions);
      this.#tracking = { mappings, pagemap: openSync(`/proc/${this.#pid}/pagemap`, 'r') };
      clearSoftDirty(this.#pid);
    });
    await this.#vanished.start();
  }

  async harvest(): Promise<Run[]> {
    const written = await this.#attempt(() => withProcessStopped(this.#pid, () => this.#takeWritten()));
    const vanished = await this.#vanished.take(written);
    return vanished.length > 0 ? unionRuns([...written, ...vanished]) : written;
  }

  stop(): Promise<void> {
    if (this.#tracking) closeSync(this.#tracking.pagemap);
    this.#tracking = null;
    return Promise.resolve();
  }

  #takeWritten(): Run[] {
    if (!this.#tracking) throw new MigrationError('tracking-failed', 'the write-log is not started');
    const { pagemap, mappings } = this.#tracking;
    refuseNewMappings(this.#pid, this.#regions, mappings);
    const written = runsIn(mappings, (mapping, take) => readSoftDirty(pagemap, mapping, take));
    clearSoftDirty(this.#pid);
    return written;
  }

  async #attempt<T>(step: () => T): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return step();
      } catch (error) {
        if (!isAlive(this.#pid)) {
          throw new MigrationError('guest-failed', `process ${this.#pid} of the guest has ended`, {
            cause: error,
          });
        }
        if (!(error instanceof ThreadBusyError) || attempt === MAX_ATTEMPTS) {
          throw toMigrationError(error, 'tracking-failed');
        }
      }
      await setTimeout(RETRY_MS);
    }
  }
}
