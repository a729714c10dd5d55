import { readdirSync, readFileSync } from 'node:fs';
import { MigrationError } from '../../../../shared/errors.js';
import type { GuestRecord } from './guest-record.js';
import { identifyProcess, isAlive, type ProcessIdentity } from './process-identity.js';
import { QemuProcess } from './qemu-process.js';
import { removeRamFiles } from './ram-files.js';
import type { RunDirectory } from './run-directory.js';

/** Ends the QEMU of a guest, if it lives, and removes all files of it. */
export async function removeRemains(directory: RunDirectory, record: GuestRecord): Promise<void> {
  const identity = record.process ?? findByArgument(record.qmpSocket);
  if (identity) await QemuProcess.found(identity).terminate();
  await removeRamFiles(record.ramFiles);
  await directory.remove();
}

/** Removes what a guest of that name has left here. Throws guest-failed where its QEMU lives. */
export async function clearRemains(directory: RunDirectory): Promise<void> {
  if (!directory.recorded) return;
  const record = await directory.read();
  if (record.process && isAlive(record.process)) {
    const text =
      `QEMU of a VM ${record.definition.name} runs here already (pid ${record.process.pid}) and this agent does not ` +
      `have it: restart the agent to take it up, or end that process`;
    throw new MigrationError('guest-failed', text);
  }
  await removeRemains(directory, record);
}

/** A process that was started with `text` as a part of an argument: one whose agent died before it noted the process. */
function findByArgument(text: string): ProcessIdentity | null {
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (Number.isInteger(pid) && pid !== process.pid && commandLine(pid).includes(text))
      return identifyProcess(pid);
  }
  return null;
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
