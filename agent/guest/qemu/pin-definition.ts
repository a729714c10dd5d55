import { MigrationError } from '../../../shared/errors.js';
import type { QemuDefinition } from '../../../shared/guest-definition.js';
import type { QemuHost } from './host/qemu-host.js';

/** A definition that leaves nothing to the host that starts it. */
export interface PinnedDefinition {
  /** With the versioned name of its machine type, and what executes it. */
  readonly definition: QemuDefinition;
  readonly accel: 'kvm' | 'tcg';
  /** Why that: one line for the operator. */
  readonly reason: string;
}

/**
 * What a definition means on this host. Whatever runs from it moves with what was chosen here: 'q35' is another machine
 * in another QEMU, and what KVM executes can't go on under TCG. Throws guest-failed where KVM is demanded and does not
 * work.
 */
export function pinDefinition(
  definition: QemuDefinition,
  { machines, kvm }: Pick<QemuHost, 'machines' | 'kvm'>,
): PinnedDefinition {
  if (definition.accel === 'kvm' && !kvm.usable) {
    const text = `VM ${definition.name} is to run with kvm, which does not work here: ${kvm.reason}; let it use 'auto' or 'tcg'`;
    throw new MigrationError('guest-failed', text);
  }
  const chosen = definition.accel === 'auto';
  const accel = definition.accel === 'kvm' || (chosen && kvm.usable) ? 'kvm' : 'tcg';
  const machine = machines.get(definition.machine) ?? definition.machine;
  return {
    definition: { ...definition, machine, accel },
    accel,
    reason: chosen ? kvm.reason : 'the definition says so',
  };
}
