import type { Logger } from 'pino';
import type { IncomingGuests } from '../guest/incoming-guests.js';
import type { IncomingHost } from './target-context.js';

/**
 * What a node keeps of incoming guests, as the host of one incoming migration. `cleared` waits until earlier attempts to bring that
 * VM here have left nothing: one that is tried again at once must not be refused for their remains.
 */
export function incomingHost(
  guests: IncomingGuests,
  migration: string,
  logger: Logger,
  cleared: (vm: string) => Promise<void>,
): IncomingHost {
  return {
    async preflight({ definition, regions, traits }) {
      await cleared(definition.name);
      return await guests.preflight(definition, regions, traits);
    },
    async create({ definition, regions }) {
      return await guests.create(definition, regions, migration);
    },
    async stageImage(vm, image) {
      await guests.stageImage(vm, migration, image);
    },
    adopt(guest) {
      guests.adopt(guest.definition.name);
      logger.info({ vm: guest.definition.name }, 'the guest is committed to this node');
    },
    async discard(vm) {
      await guests.discard(vm, migration);
    },
  };
}
