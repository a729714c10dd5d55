import type { Logger } from 'pino';
import type { HostedGuest } from './hosted-guest.js';

/** Has it in the log what becomes of the guest of a VM. Returns the guest. */
export function logChanges(name: string, guest: HostedGuest, logger: Logger): HostedGuest {
  guest.onChange(() => {
    if (guest.failure) logger.error({ vm: name, err: guest.failure }, 'the machine of a VM failed');
    else logger.debug({ vm: name, state: guest.state }, 'VM state changed');
  });
  return guest;
}
