import type { QemuDefinition } from '../../../../shared/guest-definition.js';

/**
 * Whether a guest has a device by which it gives memory back to the host as it runs: a balloon, with or without free page
 * reporting, or memory that is unplugged. None comes but by an argument; one that an operator has plugged in through a
 * monitor of an adopted QEMU is not known.
 */
export function canGiveBack({ arguments: parameters }: QemuDefinition): boolean {
  return parameters.some((parameter) => /virtio-(balloon|mem)/.test(parameter));
}
