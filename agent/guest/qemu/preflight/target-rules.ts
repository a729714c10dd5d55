import { toMigrationError } from '../../../../shared/errors.js';
import type { QemuDefinition } from '../../../../shared/guest-definition.js';
import { cpuRules } from './cpu-rules.js';
import { fileRules } from './file-rules.js';
import { type Finding, note, refusal, warning } from './findings.js';
import { memoryRules } from './memory-rules.js';
import { missingCapabilities } from './migration-capabilities.js';
import type { QemuHost } from '../host/qemu-host.js';
import type { TargetFacts } from './target-facts.js';
import { type GuestTraits, readTraits } from './traits.js';

/** What speaks for or against a guest of that definition coming here. `traits` come from the source as they are. */
export function checkTarget(
  definition: QemuDefinition,
  traits: Readonly<Record<string, string>>,
  facts: TargetFacts,
): Finding[] {
  let guest: GuestTraits;
  try {
    guest = readTraits(traits);
  } catch (error) {
    const remedy = "run the same version of vmferry's agent on both nodes";
    return [refusal('traits-invalid', 'the source', toMigrationError(error).message, remedy)];
  }
  const { qemu } = facts;
  if (!qemu) {
    const remedy = 'install QEMU on this node: apt-get install qemu-system-x86';
    return [refusal('qemu-missing', 'QEMU', facts.qemuProblem, remedy)];
  }
  return [
    ...missingCapabilities(qemu.binary, qemu.migrationCapabilities),
    ...versionRules(guest, qemu),
    ...machineRules(definition, guest, qemu),
    ...accelRules(definition, guest, qemu),
    ...cpuRules(guest, facts.cpu, qemu),
    ...memoryRules(definition, guest, facts),
    ...fileRules(definition, guest, facts),
    ...tapRules(facts),
  ];
}

function versionRules({ qemu: source }: GuestTraits, { version }: QemuHost): Finding[] {
  const here = [version.major, version.minor, version.micro];
  const subject = `QEMU ${here.join('.')}`;
  // Releases of one series have the same devices.
  const older = version.major - source[0]! || version.minor - source[1]!;
  if (older >= 0) return [note('qemu-version', subject, `takes guests from QEMU ${source.join('.')}`)];
  const reason = `is older than the guest's QEMU ${source.join('.')}: its devices may not know all of the guest's state`;
  return [warning('qemu-older', subject, reason, 'install the newer QEMU on this node too')];
}

function machineRules(
  { machine }: QemuDefinition,
  traits: GuestTraits,
  { machines, version }: QemuHost,
): Finding[] {
  const subject = `machine type ${traits.machine}`;
  if (!machines.has(traits.machine)) {
    const reason = `QEMU ${version.major}.${version.minor} of this node does not have it, and the guest runs on it`;
    const remedy = 'install a QEMU that has it, or start the guest anew with an older machine type';
    return [refusal('machine-type', subject, reason, remedy)];
  }
  const [name = ''] = machine.split(',');
  const here = machines.get(name);
  if (here === traits.machine) return [];
  const reason = `the definition says ${name}, which on this node is ${here ?? 'not known'}`;
  return [refusal('machine-version', subject, reason, `define the VM with machine: ${traits.machine}`)];
}

function accelRules({ accel }: QemuDefinition, traits: GuestTraits, { kvm }: QemuHost): Finding[] {
  const subject = `accelerator ${traits.accel}`;
  if (traits.accel === 'kvm' && !kvm.usable) {
    const remedy = 'make KVM work on this node, or start the guest anew with accel: tcg';
    return [
      refusal(
        'accelerator',
        subject,
        `the guest runs on KVM, which does not work here: ${kvm.reason}`,
        remedy,
      ),
    ];
  }
  const here = accel === 'auto' ? (kvm.usable ? 'kvm' : 'tcg') : accel;
  if (here === traits.accel) return [note('accelerator', subject, 'executes the guest on both nodes')];
  const reason = `it would run on ${here} here, and the state of one accelerator can't be loaded by the other`;
  return [refusal('accelerator', subject, reason, `define the VM with accel: ${traits.accel}`)];
}

function tapRules({ taps }: TargetFacts): Finding[] {
  return taps.flatMap(({ name, exists, busy }) => {
    const subject = `tap device ${name}`;
    if (!exists) {
      const remedy = `make it: ip tuntap add dev ${name} mode tap, and connect it to the guest's network`;
      return [refusal('tap-missing', subject, 'is not on this node', remedy)];
    }
    if (!busy) return [];
    return [
      refusal('tap-busy', subject, 'is used by another program on this node', 'end that, or name another'),
    ];
  });
}
