import { realpath, stat } from 'node:fs/promises';
import { hasCode } from '../../../system/system-call-error.js';

/** What no entry but one within it covers: it holds other things than files of guests. */
const SYSTEM = ['/dev', '/proc', '/sys'];

/**
 * Why the policy does not allow a file; null if it does, or if there is none. What lies outside of the policy's entries is
 * not looked at, so that a peer learns nothing about it.
 */
export async function fileRefusal(path: string, allowed: readonly string[]): Promise<string | null> {
  if (path.split('/').some((part) => part === '.' || part === '..')) return "has '.' or '..' in its path";
  const entries = allowed.filter((entry) => covers(entry, path));
  if (entries.length === 0) return 'is in no directory that the target allows to VMs from other nodes';
  try {
    const real = await realpath(path);
    if (entries.some((entry) => within('/dev', entry)) && within('/dev', real)) {
      return (await stat(real)).isBlockDevice() ? null : 'is in /dev and no block device';
    }
    for (const entry of entries) if (covers(await realpath(entry), real)) return null;
    return `is a link that leads out of the directories that the target allows`;
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return null;
    return `can't be looked at: ${(error as Error).message}`;
  }
}

/** Whether `entry` is the path, or a directory above it. */
function covers(entry: string, path: string): boolean {
  const system = SYSTEM.find((directory) => within(directory, path));
  return within(entry, path) && (system === undefined || within(system, entry));
}

function within(directory: string, path: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`);
}
