import type { HostCpu } from '../host/cpu-features.js';
import type { QemuHost } from '../host/qemu-host.js';
import { type Finding, refusal, warning } from './findings.js';
import type { GuestTraits } from './traits.js';

/** Features that a finding names at most; more do not help whoever reads it. */
const MAX_NAMED = 12;

const REMEDY =
  "start the guest anew with a CPU model that both nodes' processors have, such as cpu: x86-64-v2-AES or EPYC";

/** Whether the guest's virtual processor can be the same one here. */
export function cpuRules(guest: GuestTraits, here: HostCpu, { cpuModels, version }: QemuHost): Finding[] {
  const subject = `CPU model ${guest.cpu}`;
  const models = guest.accel === 'kvm' ? cpuModels.kvm : cpuModels.tcg;
  // Without KVM here there is nothing to compare with, and the accelerator's rule has refused.
  if (!models) return [];
  const lacks = models.get(guest.cpu);
  if (!lacks) {
    return [
      refusal('cpu-model', subject, 'is not known to QEMU on this node', 'install a QEMU that knows it'),
    ];
  }
  if (guest.hostCpu) return hostCpuRules(subject, guest.hostCpu, here);
  if (guest.cpu === 'max' && (version.major !== guest.qemu[0] || version.minor !== guest.qemu[1])) {
    const reason = 'has what its version of QEMU can, and the versions of the two nodes differ';
    return [
      warning('cpu-model', subject, reason, 'install the same QEMU on both nodes, or name a CPU model'),
    ];
  }
  const missing = lacks.filter((feature) => !guest.cpuLacks.includes(feature));
  return missing.length === 0 ? [] : [missingFeatures(subject, missing)];
}

/** For a guest that sees the processor of its host as it is. */
function hostCpuRules(
  subject: string,
  source: { vendor: string; signature: string; flags: readonly string[] },
  here: HostCpu,
): Finding[] {
  if (source.vendor !== here.vendor) {
    const reason = `is the source's processor as it is, by ${source.vendor}; that of this node is by ${here.vendor}`;
    return [refusal('cpu-model', subject, reason, REMEDY)];
  }
  const known = new Set(here.flags);
  const missing = source.flags.filter((flag) => !known.has(flag));
  if (missing.length > 0) return [missingFeatures(subject, missing)];
  if (source.signature === here.signature) return [];
  const reason = `is the source's processor as it is, and that of this node (${here.name}) is another one`;
  return [warning('cpu-model', subject, reason, REMEDY)];
}

function missingFeatures(subject: string, missing: readonly string[]): Finding {
  const more = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : '';
  const reason = `the guest may use ${missing.slice(0, MAX_NAMED).join(', ')}${more}, which this node lacks`;
  return refusal('cpu-features', subject, reason, REMEDY);
}
