import type { Logger } from 'pino';
import type { AgentConfig } from '../../shared/config.js';
import { embeddedKind } from './embedded/embedded-kind.js';
import type { GuestKinds } from './hosted-guest.js';
import { qemuKind } from './qemu/qemu-kind.js';

/** The kinds of guests that an agent of that configuration hosts. */
export function guestKinds(config: AgentConfig, logger: Logger): GuestKinds {
  return { embedded: embeddedKind, qemu: qemuKind(config, logger) };
}
