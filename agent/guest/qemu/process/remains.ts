import { existsSync, readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { MigrationError } from '../../../../shared/errors.js';
import { commandLine } from '../../../system/process-status.js';
import { qmpSocketArgument } from './command-line.js';
import type { GuestRecord } from './guest-record.js';
import { identifyProcess, isAlive, type ProcessIdentity } from './process-identity.js';
import { QemuProcess } from './qemu-process.js';
import { removeRamFiles } from './ram-files.js';
import type { RunDirectory } from './run-directory.js';

/** Ends the QEMU of a guest, if it lives, and removes all files of it. */
export async function removeRemains(directory: RunDirectory, record: GuestRecord): Promise<void> {
  const identities = record.process ? [record.process] : findBySocket(record.qmpSocket);
  for (const identity of identities) await QemuProcess.found(identity).terminate();
  await removeRamFiles(record.ramFiles);
  await directory.remove();
}

/**
 * The same for a guest whose record is lost or damaged: its QEMU is found by its arguments, and its RAM files go with the next start of
 * the agent. Throws guest-failed where that QEMU may be one that was adopted, which runs with any arguments.
 */
export async function removeUnrecorded(directory: RunDirectory): Promise<void> {
  if (!existsSync(directory.qemuLog)) {
    const text =
      `no agent has started the QEMU of VM ${basename(directory.path)}, and nobody can tell which it is: end it if it runs, remove ` +
      `${directory.path}, and restart the agent`;
    throw new MigrationError('guest-failed', text);
  }
  for (const identity of findBySocket(directory.qmpSocket)) await QemuProcess.found(identity).terminate();
  await directory.remove();
}

/** Removes what a guest of that name on `node` has left here. Throws guest-failed where it lives, or is another node's. */
export async function clearRemains(directory: RunDirectory, node: string): Promise<void> {
  if (!directory.recorded) return;
  const record = await directory.read();
  if (record.node !== node) {
    const text =
      `the run directory ${directory.path} is that of node ${record.node}: ` +
      'give each node on this host a runDirectory of its own';
    throw new MigrationError('guest-failed', text);
  }
  if (record.process && isAlive(record.process)) {
    const text =
      `QEMU of a VM ${record.definition.name} runs here already (pid ${record.process.pid}) and this agent does not ` +
      `have it: restart the agent to take it up, or end that process`;
    throw new MigrationError('guest-failed', text);
  }
  await removeRemains(directory, record);
}

/** The processes that an agent has started with that socket for QMP, also those that it died before it could note. */
export function findBySocket(qmpSocket: string): ProcessIdentity[] {
  const argument = qmpSocketArgument(qmpSocket);
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && commandLine(pid).includes(argument))
    .flatMap((pid) => identifyProcess(pid) ?? []);
}
