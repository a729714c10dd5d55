import type { Logger } from 'pino';
import { MigrationError, toMigrationError } from '../../../shared/errors.js';
import type { GuestDefinition } from '../../../shared/guest-definition.js';
import type { Survivor } from '../hosted-guest.js';
import { isAlive } from './process/process-identity.js';
import type { GuestRecord } from './process/guest-record.js';
import { guestDirectories } from './process/recorded-guests.js';
import { findBySocket, removeRemains, removeUnrecorded } from './process/remains.js';
import { RunDirectory } from './process/run-directory.js';
import type { QemuGuest } from './qemu-guest.js';

export interface SurvivorSearch {
  readonly node: string;
  readonly runDirectory: string;
  readonly logger: Logger;
  /** The definition of a VM that the node has. */
  readonly definitionOf: (vm: string) => GuestDefinition | undefined;
  readonly takeUp: (directory: RunDirectory, record: GuestRecord) => Promise<QemuGuest>;
}

/**
 * The guests whose QEMU outlived an earlier run of the agent. What is left of others is removed, but for those that were
 * coming here: whether they are the node's own, to be known as such, is for the caller to find out. One whose record can't be
 * read can't be taken up.
 */
export async function findSurvivors(search: SurvivorSearch): Promise<Survivor[]> {
  const survivors: Survivor[] = [];
  for (const vm of await guestDirectories(search.runDirectory)) {
    const directory = new RunDirectory(search.runDirectory, vm);
    try {
      const survivor = await survivorIn(directory, vm, search);
      if (survivor) survivors.push(survivor);
    } catch (error) {
      const text =
        `what an earlier agent left of its QEMU in ${directory.path} can't be used, and a QEMU may be running: ` +
        toMigrationError(error).message;
      const definition = search.definitionOf(vm);
      if (definition?.kind === 'qemu') {
        survivors.push({
          definition,
          incoming: null,
          takeUp: () => Promise.reject(new MigrationError('guest-failed', text, { cause: error })),
          destroy: () => removeUnrecorded(directory),
        });
        continue;
      }
      search.logger.error(
        { vm, err: error },
        `VM ${vm} is not known here and can't be started: ${text}; end that QEMU if it runs, remove the directory, and restart the agent`,
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
    const [running] = findBySocket(directory.qmpSocket);
    if (running)
      throw new MigrationError(
        'guest-failed',
        `its record guest.json is gone, and it runs as pid ${running.pid}`,
      );
    // Nothing was started without a record. What is not ours is whoever's the run directory is, too.
    if (await directory.isOurs()) await directory.remove();
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
