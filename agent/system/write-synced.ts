import { open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MigrationError, outOfDescriptors } from '../../shared/errors.js';

/** Writes a file, all of it, and has it on the disk when it resolves; not yet its place in the directory. */
export async function writeSynced(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

const UNFINISHED = '.unfinished';

/** All of a file or nothing of it; durable but for its place in the directory. Throws what unwritable() says. */
export async function writeAtomic(path: string, content: string | Uint8Array): Promise<void> {
  const unfinished = path + UNFINISHED;
  try {
    await writeSynced(unfinished, content);
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true }).catch(() => undefined);
    throw unwritable(path, error);
  }
}

/** Removes what processes that ended within writeAtomic() have left in a directory that this one alone writes to. */
export async function removeUnfinished(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isFile() && entry.name.endsWith(UNFINISHED))
      await rm(join(directory, entry.name), { force: true });
  }
}

/** The error of a file that can't be written: internal, or limit-exceeded where there is no descriptor left. */
export function unwritable(what: string, cause: unknown): MigrationError {
  const text = `${what} can't be written: ${(cause as Error).message}`;
  return (
    outOfDescriptors(cause, text) ??
    new MigrationError('internal', `${text}: free or mend that disk`, { cause })
  );
}
