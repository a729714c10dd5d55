import { type Finding, refusal } from './findings.js';

/** What the agents rely on in QEMU's own migration: all of it is there from QEMU 4.0 on. */
export const NEEDED_CAPABILITIES = ['events', 'pause-before-switchover', 'x-ignore-shared'] as const;

/** `subject`: whose they are. */
export function missingCapabilities(subject: string, found: ReadonlySet<string>): Finding[] {
  const missing = NEEDED_CAPABILITIES.filter((name) => !found.has(name));
  if (missing.length === 0) return [];
  const reason = `lacks what its migration needs: ${missing.join(', ')}`;
  return [refusal('qemu-capabilities', subject, reason, 'install QEMU 4.0 or newer (tested: 7.2)')];
}
