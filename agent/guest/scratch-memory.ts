import { randomFillSync } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { MigrationError } from '../../shared/errors.js';
import type { LinkTestMemory } from '../../shared/protocol/messages.js';
import { QemuMemory } from './qemu/qemu-memory.js';
import { createRamFiles, removeRamFiles, scratchFile } from './qemu/process/ram-files.js';
import type { Region } from './guest.js';

/** Memory as guests have it that belongs to none: for measuring. */
export interface ScratchMemory {
  readonly regions: readonly Region[];
  release(): Promise<void>;
}

/** Content that is repeated: random, so that nothing on the way finds it zero or compresses it. bytes */
const PATTERN_BYTES = 2 ** 20;

/** Filled before other work gets its turn: some 10 ms. bytes */
const FILLED_BYTES = 16 * 2 ** 20;

/** `directory`: for the files of QEMU's kind. Throws target-out-of-memory, and unsupported-guest where files can't be mapped. */
export async function scratchMemory(
  memory: LinkTestMemory,
  bytes: number,
  directory: string,
): Promise<ScratchMemory> {
  if (memory === 'embedded') {
    let buffer: SharedArrayBuffer;
    try {
      buffer = new SharedArrayBuffer(bytes);
    } catch (cause) {
      throw new MigrationError('target-out-of-memory', `${bytes} bytes for a link test can't be had`, {
        cause,
      });
    }
    const name = 'ram';
    return {
      regions: [{ name, memory: new Uint8Array(buffer), handle: { name, buffer } }],
      release: () => Promise.resolve(),
    };
  }
  const file = scratchFile(directory, bytes);
  await createRamFiles([file]);
  try {
    const mapped = QemuMemory.open([file]);
    return {
      regions: mapped.regions,
      release: async () => {
        mapped.release();
        await removeRamFiles([file.path]);
      },
    };
  } catch (error) {
    await removeRamFiles([file.path]);
    throw error;
  }
}

/** Fills it with what is neither zero nor compressible, and lets other work have its turn. */
export async function fillRandom({ regions }: ScratchMemory): Promise<void> {
  const pattern = randomFillSync(new Uint8Array(PATTERN_BYTES));
  for (const { memory, write } of regions) {
    for (let offset = 0; offset < memory.length; offset += pattern.length) {
      const piece = pattern.subarray(0, memory.length - offset);
      if (write) write(offset, piece);
      else memory.set(piece, offset);
      if (offset % FILLED_BYTES === 0) await setImmediate();
    }
  }
}
