import type { Logger } from 'pino';
import type { DefinitionFiles } from './definition-files.js';
import { GuestStore } from './guest-store.js';
import type { GuestKinds } from './hosted-guest.js';
import { IncomingGuests } from './incoming-guests.js';
import { OutgoingGuests } from './outgoing-guests.js';
import { takeUpSurvivors } from './take-up-survivors.js';
import { type Decisions, VmTable } from './vm-table.js';

export interface OpenGuestsOptions {
  node: string;
  kinds: GuestKinds;
  files: DefinitionFiles;
  journal: Decisions;
  /** Most memory of all guests together. */
  memoryLimitBytes: number;
  /** Throws why no guest may come here. */
  refuseArrivals?: () => void;
  logger: Logger;
}

/** The guests of one node, for each of those who have to do with them. */
export interface NodeGuests {
  readonly vms: VmTable;
  /** What operators do with them. */
  readonly store: GuestStore;
  /** What the source of a migration may do with them. */
  readonly outgoing: OutgoingGuests;
  /** What the target of one may. */
  readonly incoming: IncomingGuests;
}

/** Reads the definitions and takes up the guests that outlived an earlier run of the agent. */
export async function openGuests(options: OpenGuestsOptions): Promise<NodeGuests> {
  const { node, kinds, files, logger, refuseArrivals = () => undefined } = options;
  const vms = await VmTable.open(options);
  await takeUpSurvivors({ ...options, vms });
  return {
    vms,
    store: new GuestStore({ node, vms, kinds, files, logger }),
    outgoing: new OutgoingGuests({ vms, kinds, logger }),
    incoming: new IncomingGuests({ vms, kinds, files, refuseArrivals, logger }),
  };
}
