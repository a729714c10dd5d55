import { closeSync, openSync } from 'node:fs';
import { MigrationError, toMigrationError } from '../../../../shared/errors.js';
import { type Run, unionRuns } from '../../../../shared/page.js';
import { readMaps } from '../../../system/process-maps.js';
import { descriptorsOn, isAlive } from '../../../system/process-status.js';
import { hasCode } from '../../../system/system-call-error.js';
import { takeWritten, USERFAULTFD_LINK, WriteProtection } from '../../../system/userfaultfd.js';
import type { WriteLog } from '../../guest.js';
import { type GuestMapping, readGuestMappings, refuseNewMappings, runsIn } from './guest-mappings.js';
import { takeUserfaultfd } from './take-userfaultfd.js';
import type { TrackedRegion } from './tracked-region.js';
import { VanishedPages } from './vanished-pages.js';

/**
 * Follows the writes of a process by the kernel's write protection: a userfaultfd, made in that process and taken over from it,
 * protects its guest memory; a write lifts the protection of its page and waits for nobody; a harvest finds those pages
 * and protects them again, atomically for each. Writes that the kernel makes for the process (read(2), vhost-net) are seen;
 * pages that it gives back are, by VanishedPages. What it does not see:
 * - writes of other processes that have the same file mapped: foreignMappings;
 * - writes to pages that are pinned: devices (VFIO), and direct I/O that began before a harvest and ends after it.
 */
export class UserfaultfdLog implements WriteLog {
  readonly kind = 'userfaultfd';
  readonly reason: string;
  readonly #pid: number;
  readonly #regions: readonly TrackedRegion[];
  readonly #vanished: VanishedPages;
  #tracking: { protection: WriteProtection; pagemap: number; mappings: GuestMapping[] } | null = null;

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
    try {
      this.#start();
      // Protects what is mapped.
      this.#takeWritten();
      await this.#vanished.start();
    } catch (error) {
      await this.stop();
      throw this.#explain(error);
    }
  }

  async harvest(): Promise<Run[]> {
    try {
      const written = this.#takeWritten();
      const vanished = await this.#vanished.take(written);
      return vanished.length > 0 ? unionRuns([...written, ...vanished]) : written;
    } catch (error) {
      throw this.#explain(error);
    }
  }

  /** No part of a harvest: to read the mappings takes half a millisecond, and the guest may stand still for that. */
  confirm(): void {
    try {
      refuseNewMappings(this.#pid, this.#regions, this.#started.mappings);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  stop(): Promise<void> {
    if (this.#tracking) {
      this.#tracking.protection.close();
      closeSync(this.#tracking.pagemap);
    }
    this.#tracking = null;
    return Promise.resolve();
  }

  #start(): void {
    const mappings = readGuestMappings(this.#pid, this.#regions);
    const protection = new WriteProtection(takeUserfaultfd(this.#pid));
    try {
      for (const mapping of mappings) protection.register(mapping);
      this.#tracking = { protection, mappings, pagemap: openSync(`/proc/${this.#pid}/pagemap`, 'r') };
    } catch (error) {
      protection.close();
      throw error;
    }
  }

  #takeWritten(): Run[] {
    const { pagemap, mappings } = this.#started;
    const written = runsIn(mappings, (mapping, take) => takeWritten(pagemap, mapping, take));
    // One that has ended tells no writes, and no error.
    if (!isAlive(this.#pid)) throw new Error('it has ended');
    return written;
  }

  get #started() {
    if (!this.#tracking) throw new MigrationError('tracking-failed', 'the write-log was not started');
    return this.#tracking;
  }

  #explain(error: unknown): MigrationError {
    // Without mappings: it is about to end.
    if (!isAlive(this.#pid) || readMaps(this.#pid).length === 0) {
      return new MigrationError('guest-failed', `process ${this.#pid} of the guest has ended`, {
        cause: error,
      });
    }
    if (hasCode(error, 'EBUSY')) {
      const open = descriptorsOn(this.#pid, USERFAULTFD_LINK);
      const who = open.length > 0 ? `by its own descriptor ${open.join(', ')}` : 'by another program';
      return new MigrationError(
        'tracking-failed',
        `the memory of process ${this.#pid} is tracked already, ${who}: end that migration or snapshot, then try again`,
        { cause: error },
      );
    }
    if (hasCode(error, 'EPERM', 'EACCES')) {
      const reason = (error as Error).message;
      return new MigrationError(
        'tracking-failed',
        `this agent may not track process ${this.#pid} (${reason}): it needs the capability CAP_SYS_PTRACE, and CAP_DAC_READ_SEARCH for a QEMU of another user`,
        { cause: error },
      );
    }
    return toMigrationError(error, 'tracking-failed');
  }
}
