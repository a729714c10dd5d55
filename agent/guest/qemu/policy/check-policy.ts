import { availableParallelism } from 'node:os';
import { toMigrationError } from '../../../../shared/errors.js';
import type { QemuDefinition } from '../../../../shared/guest-definition.js';
import type { QemuPolicy } from '../../../../shared/qemu-policy.js';
import { hasCode } from '../../../system/system-call-error.js';
import { type Finding, refusal } from '../preflight/findings.js';
import { refusedArguments } from './argument-policy.js';
import { fileRefusal } from './file-policy.js';
import { chainRefusal } from './image-chain.js';

/**
 * What a definition from another node has that this node's policy does not allow: a peer describes a machine, and what of this
 * host that machine may touch is for its operator to say.
 */
export async function checkPolicy(definition: QemuDefinition, policy: QemuPolicy): Promise<Finding[]> {
  const findings: Finding[] = [];
  const refuse = (subject: string, reason: string, remedy: string) =>
    void findings.push(refusal('refused-by-policy', subject, reason, remedy));
  const refuseFile = (what: string, path: string, reason: string) =>
    refuse(
      `${what} ${path}`,
      reason,
      `name its directory in qemu.allow.files of the target, or put it into one of those`,
    );

  for (const what of ['kernel', 'initrd'] as const) {
    const path = definition.boot?.[what];
    if (path === undefined) continue;
    // A multiboot kernel takes a list of files there.
    const reason = path.includes(',') ? 'has a comma in its path' : await fileRefusal(path, policy.files);
    if (reason !== null) refuseFile(what, path, reason);
  }
  for (const { file, format } of definition.disks) {
    const reason = await fileRefusal(file, policy.files);
    if (reason !== null) {
      refuseFile('disk', file, reason);
      continue;
    }
    const found = format === 'qcow2' ? await chainOf(file, policy.files) : null;
    if (found) refuseFile('disk', found.file, found.reason);
  }
  const cpus = policy.cpus ?? availableParallelism();
  if (definition.cpus > cpus) {
    const reason = `is more than the target gives a VM from another node (${cpus})`;
    refuse(
      `cpus: ${definition.cpus}`,
      reason,
      `raise qemu.allow.cpus of the target, or define the VM with fewer`,
    );
  }
  for (const { tap } of definition.nics) {
    if (policy.taps.some((allowed) => matchesName(allowed, tap))) continue;
    refuse(
      `tap device ${tap}`,
      'is none that the target gives to VMs from other nodes',
      'add it to qemu.allow.taps of the target',
    );
  }
  for (const text of refusedArguments(definition.arguments, policy.arguments)) {
    const remedy = `add it to qemu.allow.arguments of the target, if it can do no harm there, or define the VM without`;
    refuse(`argument '${text}'`, 'is none that the target takes from other nodes', remedy);
  }
  return findings;
}

async function chainOf(file: string, files: readonly string[]) {
  try {
    return await chainRefusal(file, (path) => fileRefusal(path, files));
  } catch (error) {
    // That it is not there, or not readable, the rules about files say.
    if (hasCode(error, 'ENOENT', 'EACCES', 'EISDIR')) return null;
    return { file, reason: `can't be read as qcow2: ${toMigrationError(error).message}` };
  }
}

function matchesName(allowed: string, name: string): boolean {
  return allowed.endsWith('*') ? name.startsWith(allowed.slice(0, -1)) : name === allowed;
}
