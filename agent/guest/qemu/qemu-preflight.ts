import type { AgentConfig } from '../../../shared/config.js';
import type { MoveReport } from '../hosted-guest.js';
import { toPreflightFindings } from './preflight/findings.js';
import { gatherGuestFacts } from './preflight/gather-guest-facts.js';
import { checkSource, type WriteLogFacts } from './preflight/source-rules.js';
import { guestTraits } from './preflight/traits.js';
import type { QemuGuest } from './qemu-guest.js';
import type { WriteLogKind } from './write-log/choose-write-log.js';
import { foreignMappings } from './write-log/foreign-mappings.js';
import { probeKernel } from './write-log/probe-kernel.js';

/** What speaks for or against moving a guest that runs here, and what its target must know of it. */
export async function preflightSource(guest: QemuGuest): Promise<MoveReport> {
  const { pid, definition, writeLog } = guest;
  const foreign = foreignMappings(guest.memoryFiles, [pid]);
  const facts = await gatherGuestFacts(guest.qmp, pid, definition, foreign);
  const kind = writeLog.kind as WriteLogKind;
  const findings = checkSource(facts, { kind, reason: writeLog.reason });
  return { findings: toPreflightFindings(findings), traits: guestTraits(facts) };
}

/** The write-log that guests of this host get, as far as it can be told without one. */
export function writeLogOfHost(choice: AgentConfig['qemu']['writeLog']): WriteLogFacts {
  if (choice !== 'auto') return { kind: choice, reason: 'as configured' };
  const { userfaultfd, softDirty } = probeKernel();
  if (userfaultfd.usable) return { kind: 'userfaultfd', reason: userfaultfd.reason };
  if (softDirty.usable) return { kind: 'soft-dirty', reason: `${softDirty.reason}; ${userfaultfd.reason}` };
  return { kind: 'hash', reason: `${userfaultfd.reason}; ${softDirty.reason}` };
}
