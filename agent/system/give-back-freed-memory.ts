import { libc } from './libc.js';

// From malloc.h of glibc.
const M_MMAP_THRESHOLD = -3;

/** Smallest block that is a mapping of its own: what the memory of guests and the buffers of pages have at least. */
const OWN_MAPPING_BYTES = 2 ** 20;

/**
 * Has large blocks given back to the kernel as soon as they are freed, however many there have been. Left to itself glibc keeps those
 * of up to 32 MiB in its heap once some were freed, and smaller ones after them then hold that heap open: agents grew by
 * 130 MiB in a thousand migrations of an embedded guest. Without effect where there is no glibc, or koffi has no binary.
 */
export function giveBackFreedMemory(): void {
  try {
    libc().mallopt(M_MMAP_THRESHOLD, OWN_MAPPING_BYTES);
  } catch {
    // Such an agent has more memory than it needs, and is well otherwise.
  }
}
