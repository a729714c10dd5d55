import { QemuHostProbe } from '../../agent/guest/qemu/host/qemu-host.js';

const probe = new QemuHostProbe('qemu-system-x86_64');

/** What executes the guests: as asked for, or, for 'auto', what an agent would choose. */
export async function acceleratorOf(asked: string): Promise<string> {
  if (asked !== 'auto') return asked;
  return (await probe.host()).kvm.usable ? 'kvm' : 'tcg';
}
