import { readdirSync } from 'node:fs';
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { commandLine } from '../../../system/process-status.js';
import { identifyProcess } from './process-identity.js';
import { hugepageMounts, ramFilePrefixes } from './ram-files.js';

/** The end of a RAM file's name: the process that made it, and when that was started; see planRamFiles(). */
const MADE_BY = /-(\d+)\.(\d+)\.[0-9a-f]{8}-\d+\.ram$/;

/**
 * Removes the RAM files that agents of this node and this user have left which are no more, and that no QEMU runs on: of link
 * tests, and of guests whose run directory is lost. Whose record is there is found by that. Returns their paths.
 */
export async function removeLostRamFiles(node: string, memoryDirectory: string): Promise<string[]> {
  const removed: string[] = [];
  for (const directory of [memoryDirectory, ...(await hugepageMounts()).map((mount) => mount.directory)]) {
    for (const name of await readdir(directory).catch(() => [])) {
      const path = join(directory, name);
      if (!isOfDeadAgent(node, name) || isUsed(name) || !(await isOwnFile(path))) continue;
      await rm(path, { force: true });
      removed.push(path);
    }
  }
  return removed;
}

function isOfDeadAgent(node: string, name: string): boolean {
  if (!ramFilePrefixes(node).some((prefix) => name.startsWith(prefix))) return false;
  const [, pid, startTime] = MADE_BY.exec(name) ?? [];
  return pid !== undefined && identifyProcess(Number(pid))?.startTime !== startTime;
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
