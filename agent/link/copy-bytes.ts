/**
 * Copies all of `bytes` (at least one) to `offset` of `memory`. Throws RangeError where they do not fit.
 *
 * For what arrives from a socket and goes into shared memory. `memory.set(bytes, offset)` copies byte by byte where one
 * of the two is shared and they are aligned differently, as pieces of a stream are: 2 GB/s on a machine where this, which ends
 * in the C library's memcpy, does 7 to 9.
 */
export function copyBytes(memory: Uint8Array, offset: number, bytes: Uint8Array): void {
  Buffer.from(memory.buffer, memory.byteOffset, memory.length).fill(bytes, offset, offset + bytes.length);
}
