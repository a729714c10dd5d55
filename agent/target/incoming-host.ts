import type { Logger } from 'pino';
import type { PreflightFinding } from '../../shared/protocol/messages.js';
import { formatBytes } from '../../shared/units.js';
import type { GuestStore } from '../guest/guest-store.js';
import type { IncomingHost } from './target-session.js';

/**
 * The store of a node's guests as the host of one incoming migration. `cleared` waits until earlier attempts to bring that
 * VM here have left nothing: one that is tried again at once must not be refused for their remains.
 */
export function incomingHost(
  guests: GuestStore,
  migration: string,
  logger: Logger,
  cleared: (vm: string) => Promise<void>,
): IncomingHost {
  return {
    async preflight({ definition, regions, traits }) {
      await cleared(definition.name);
      const findings = [
        ...guests
          .checkIncoming(definition, regions)
          .map(({ code, message }): PreflightFinding => ({ level: 'refusal', code, message })),
        ...(await guests.preflightIncoming(definition, traits)),
      ];
      if (findings.some(({ level }) => level === 'refusal')) return findings;
      const free = formatBytes(guests.memoryLimitBytes - guests.memoryUsedBytes);
      const message = `the target can take ${definition.name}: ${formatBytes(definition.memory)} of ${free} free for guests`;
      return [...findings, { level: 'ok', code: 'target-ready', message }];
    },
    async create({ definition, regions }) {
      return await guests.createIncoming(definition, regions, migration);
    },
    async stageImage(vm, image) {
      await guests.stageImage(vm, migration, image);
    },
    adopt(guest) {
      guests.adopt(guest.definition.name);
      logger.info({ vm: guest.definition.name }, 'the guest is committed to this node');
    },
    async discard(vm) {
      await guests.discardIncoming(vm, migration);
    },
  };
}
