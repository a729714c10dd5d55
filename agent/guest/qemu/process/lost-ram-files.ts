import { readdirSync } from 'node:fs';
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { commandLine } from '../../../system/process-status.js';
import { isOfDeadMaker } from './maker.js';
import { hugepageMounts, ramFilePrefixes } from './ram-files.js';

/** The end of a RAM file's name, after its maker; see planRamFiles(). */
const END = String.raw`-\d+\.ram`;

/**
 * Removes the RAM files that agents of this node and this user have left which are no more, and that no QEMU runs on: of link
 * tests, and of guests whose run directory is lost. Whose record is there is found by that. Returns their paths.
 */
export async function removeLostRamFiles(node: string, memoryDirectory: string): Promise<string[]> {
  const removed: string[] = [];
  const prefixes = ramFilePrefixes(node);
  for (const directory of [memoryDirectory, ...(await hugepageMounts()).map((mount) => mount.directory)]) {
    for (const name of await readdir(directory).catch(() => [])) {
      const path = join(directory, name);
      if (!isOfDeadMaker(name, prefixes, END) || isUsed(name) || !(await isOwnFile(path))) continue;
      await rm(path, { force: true });
      removed.push(path);
    }
  }
  return removed;
}

/** A QEMU names its RAM in its arguments: so it is known before it has opened it, and to whoever may see its process. */
function isUsed(name: string): boolean {
  return readdirSync('/proc').some(
    (entry) => /^\d+$/.test(entry) && commandLine(Number(entry)).some((text) => text.includes(name)),
  );
}

async function isOwnFile(path: string): Promise<boolean> {
  const info = await lstat(path).catch(() => null);
  return info !== null && info.isFile() && info.uid === process.geteuid!();
}
