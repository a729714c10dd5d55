import { readdir, stat } from 'node:fs/promises';
import { MigrationError } from '../../../../shared/errors.js';
import { NameSchema } from '../../../../shared/names.js';
import type { GuestRecord } from './guest-record.js';
import { isSameProcess, type ProcessIdentity } from './process-identity.js';
import { RunDirectory } from './run-directory.js';

/** Names of the guests that have a directory in `runDirectory`. */
export async function guestDirectories(runDirectory: string): Promise<string[]> {
  try {
    const entries = await readdir(runDirectory, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory() && NameSchema.safeParse(entry.name).success)
      .map(({ name }) => name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/**
 * Throws unsupported-guest, naming the VM, where a guest recorded in `runDirectory` has that process or one of those files
 * of RAM: with two names for one machine, the end of one guest would take the memory of the other.
 */
export async function refuseRecorded(
  runDirectory: string,
  identity: ProcessIdentity,
  ramFiles: readonly string[],
): Promise<void> {
  const files = await identifyFiles(ramFiles);
  for (const vm of await guestDirectories(runDirectory)) {
    const record = await readIfReadable(new RunDirectory(runDirectory, vm));
    if (!record) continue;
    const same =
      (record.process !== null && isSameProcess(record.process, identity)) ||
      (await identifyFiles(record.ramFiles)).some((file) => files.includes(file));
    if (!same) continue;
    const text = `its process or its RAM is that of VM ${vm} already: use that VM, or stop it first`;
    throw new MigrationError('unsupported-guest', text);
  }
}

/** What files are, by whatever path; those that are not there are left out. */
async function identifyFiles(paths: readonly string[]): Promise<string[]> {
  const found = await Promise.all(paths.map((path) => stat(path).catch(() => null)));
  return found.flatMap((info) => (info ? `${info.dev}:${info.ino}` : []));
}

/** A record that is damaged names nothing; findSurvivors() tells of it. */
async function readIfReadable(directory: RunDirectory): Promise<GuestRecord | null> {
  return directory.recorded ? await directory.read().catch(() => null) : null;
}
