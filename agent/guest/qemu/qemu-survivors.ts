import type { Logger } from 'pino';
import { MigrationError } from '../../../shared/errors.js';
import type { Survivor } from '../hosted-guest.js';
import { isAlive } from './process/process-identity.js';
import type { GuestRecord } from './process/guest-record.js';
import { guestDirectories } from './process/recorded-guests.js';
import { removeRemains } from './process/remains.js';
import { RunDirectory } from './process/run-directory.js';
import type { QemuGuest } from './qemu-guest.js';

export interface SurvivorSearch {
  readonly node: string;
  readonly runDirectory: string;
  readonly logger: Logger;
  readonly takeUp: (directory: RunDirectory, record: GuestRecord) => Promise<QemuGuest>;
}

/**
 * The guests whose QEMU outlived an earlier run of the agent. What is left of others is removed, but for those that were
 * coming here: whether they are the node's own, to be known as such, is for the caller to find out.
 */
export async function findSurvivors(search: SurvivorSearch): Promise<Survivor[]> {
  const survivors: Survivor[] = [];
  for (const vm of await guestDirectories(search.runDirectory)) {
    const directory = new RunDirectory(search.runDirectory, vm);
    try {
      const survivor = await survivorIn(directory, vm, search);
      if (survivor) survivors.push(survivor);
    } catch (error) {
      search.logger.error(
        { vm, err: error },
        `what an earlier agent left of VM ${vm} can't be used, and the VM can't be started: end its QEMU if that runs (its ` +
          `arguments name ${directory.path}), remove that directory, and restart the agent`,
      );
    }
  }
  return survivors;
}

async function survivorIn(
  directory: RunDirectory,
  vm: string,
  search: SurvivorSearch,
): Promise<Survivor | null> {
  const { node, logger } = search;
  if (!directory.recorded) {
    await directory.remove();
    return null;
  }
  const record = await directory.read();
  if (record.node !== node) {
    logger.warn(
      { vm, node: record.node },
      `the run directory of VM ${vm} is that of another node: left alone`,
    );
    return null;
  }
  const alive = record.process !== null && isAlive(record.process);
  if (!alive && record.incoming === null) {
    await removeRemains(directory, record);
    logger.warn({ vm }, `QEMU of VM ${vm} ended while no agent ran: what was left of it is removed`);
    return null;
  }
  return {
    definition: record.definition,
    incoming: record.incoming,
    takeUp: () => (alive ? search.takeUp(directory, record) : Promise.reject(endedError(vm))),
    destroy: () => removeRemains(directory, record),
  };
}

function endedError(vm: string): MigrationError {
  const text = `QEMU of VM ${vm}, which had come here, ended while no agent ran`;
  return new MigrationError('guest-failed', text);
}
