import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inProbeDirectory } from './probe-directory.js';
import { runQemu } from './probe-process.js';

/** Whether an accelerator executes guests here, and what was tried to find out: one line for the operator. */
export interface AcceleratorTrial {
  readonly usable: boolean;
  readonly reason: string;
}

/** A whole firmware. bytes */
const FIRMWARE_BYTES = 65_536;
/** Where an x86 processor begins to execute: 16 bytes below the end of the firmware. */
const RESET_VECTOR = FIRMWARE_BYTES - 16;
/** I/O port of QEMU's isa-debug-exit: QEMU ends with twice the value written to it, plus 1. */
const EXIT_PORT = 0xf4;
const VALUE = 0x2a;
const EXIT_CODE = 2 * VALUE + 1;

/** mov al, VALUE; out EXIT_PORT, al; hlt; and on */
const PROGRAM = [0xb0, VALUE, 0xe6, EXIT_PORT, 0xf4, 0xeb, 0xfd];

/**
 * Lets a virtual processor execute three instructions. That /dev/kvm can be opened says little: where the host is itself a
 * virtual machine, KVM may accept a guest and not execute it, or QEMU may give up on a processor register.
 */
export async function tryAccelerator(
  binary: string,
  accel: 'kvm' | 'tcg',
  cpu: string,
): Promise<AcceleratorTrial> {
  return await inProbeDirectory(async (directory) => {
    const file = join(directory, 'firmware');
    const firmware = Buffer.alloc(FIRMWARE_BYTES, 0xf4);
    firmware.set(PROGRAM, RESET_VECTOR);
    await writeFile(file, firmware);
    const tried = `-accel ${accel} -machine q35 -cpu ${cpu}`;
    const { exitCode, words } = await runQemu(binary, [
      ...tried.split(' '),
      ...['-m', '16', '-nodefaults', '-no-user-config', '-display', 'none', '-bios', file],
      ...['-device', `isa-debug-exit,iobase=${EXIT_PORT},iosize=4`],
    ]);
    return exitCode === EXIT_CODE
      ? { usable: true, reason: `a guest with ${tried} executed its first instructions` }
      : { usable: false, reason: `QEMU with ${tried} ${words}` };
  });
}
