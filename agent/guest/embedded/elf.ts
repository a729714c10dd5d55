import { MigrationError } from '../../../shared/errors.js';
import { RAM_BASE } from './memory-map.js';

/**
 * Loads a user's program: a static ELF32 executable for little-endian RISC-V, linked to RAM at 0x80000000. It is
 * what QEMU's `-kernel` would load, and comes from outside: every field is checked before it is used.
 * Format: Tool Interface Standard, Executable and Linking Format, version 1.2; machine numbers from the RISC-V ELF psABI.
 */

const IDENT_BYTES = 16;
const HEADER_BYTES = 52;
const PROGRAM_HEADER_BYTES = 32;

const CLASS_32 = 1;
const LITTLE_ENDIAN = 1;
const VERSION_CURRENT = 1;
const TYPE_EXECUTABLE = 2;
const MACHINE_RISCV = 243;
const SEGMENT_LOAD = 1;
const SEGMENT_DYNAMIC = 2;
const SEGMENT_INTERPRETER = 3;

/** e_flags: compressed instructions, a floating-point calling convention; this machine has neither. */
const FLAG_COMPRESSED = 0x1;
const FLAGS_FLOAT = 0x6;

/** Segments of an image; bounds the work that a header of a few bytes can ask for. */
const MAX_SEGMENTS = 256;

function refuse(reason: string): never {
  throw new MigrationError('invalid-image', `the program image cannot be booted: ${reason}`);
}

function hex(address: number): string {
  return `0x${address.toString(16)}`;
}

/** A loadable segment: `fileBytes` of the file from `offset` on go to RAM at `ramOffset`; up to `memoryBytes` is zero. */
interface Segment {
  offset: number;
  fileBytes: number;
  ramOffset: number;
  memoryBytes: number;
}

/** The segments and the entry point (a physical address). Throws invalid-image, naming what is wrong. */
function parseElf(image: Uint8Array, memoryBytes: number): { segments: Segment[]; entry: number } {
  if (image.length < HEADER_BYTES) refuse(`it has ${image.length} bytes, fewer than an ELF header`);
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (view.getUint32(0) !== 0x7f454c46) refuse('it does not start with the ELF magic number');
  if (view.getUint8(4) !== CLASS_32) refuse('it is no 32-bit ELF: build it for rv32');
  if (view.getUint8(5) !== LITTLE_ENDIAN) refuse('it is not little-endian');
  if (view.getUint8(6) !== VERSION_CURRENT) refuse(`its ELF version is ${view.getUint8(6)}, not 1`);
  const type = view.getUint16(IDENT_BYTES, true);
  if (type !== TYPE_EXECUTABLE) refuse(`its type is ${type}, not an executable (2): link it statically`);
  const machine = view.getUint16(18, true);
  if (machine !== MACHINE_RISCV) refuse(`it is for machine ${machine}, not RISC-V (243)`);
  const flags = view.getUint32(36, true);
  if (flags & FLAG_COMPRESSED) refuse('it has compressed instructions: build it with -march=rv32ima_zicsr');
  if (flags & FLAGS_FLOAT) refuse('it passes floating-point registers: build it with -mabi=ilp32');
  const entry = view.getUint32(24, true);
  const tableOffset = view.getUint32(28, true);
  const entryBytes = view.getUint16(42, true);
  const count = view.getUint16(44, true);
  if (count === 0) refuse('it has no program headers');
  if (count > MAX_SEGMENTS) refuse(`it has ${count} program headers, more than ${MAX_SEGMENTS}`);
  if (entryBytes !== PROGRAM_HEADER_BYTES) {
    refuse(`its program headers have ${entryBytes} bytes each, not ${PROGRAM_HEADER_BYTES}`);
  }
  if (tableOffset + count * PROGRAM_HEADER_BYTES > image.length) {
    refuse(`its program headers at ${tableOffset} reach past its end at ${image.length}`);
  }
  const segments: Segment[] = [];
  for (let index = 0; index < count; index += 1) {
    const segment = parseSegment(view, tableOffset + index * PROGRAM_HEADER_BYTES, index, image, memoryBytes);
    if (segment) segments.push(segment);
  }
  if (segments.length === 0) refuse('it has no segment to load');
  refuseOverlap(segments);
  if (entry % 4 !== 0) refuse(`its entry point ${hex(entry)} is not a multiple of 4`);
  const inside = segments.some(
    ({ ramOffset, memoryBytes: bytes }) =>
      entry - RAM_BASE >= ramOffset && entry - RAM_BASE + 4 <= ramOffset + bytes,
  );
  if (!inside) refuse(`its entry point ${hex(entry)} is in none of its segments`);
  return { segments, entry };
}

function parseSegment(
  view: DataView,
  at: number,
  index: number,
  image: Uint8Array,
  memoryBytes: number,
): Segment | undefined {
  const type = view.getUint32(at, true);
  if (type === SEGMENT_DYNAMIC || type === SEGMENT_INTERPRETER) {
    refuse('it is dynamically linked: link it with -static');
  }
  if (type !== SEGMENT_LOAD) return undefined;
  const offset = view.getUint32(at + 4, true);
  const address = view.getUint32(at + 12, true);
  const fileBytes = view.getUint32(at + 16, true);
  const bytes = view.getUint32(at + 20, true);
  if (bytes === 0) return undefined;
  if (fileBytes > bytes)
    refuse(`segment ${index} has more bytes in the file (${fileBytes}) than in memory (${bytes})`);
  if (offset + fileBytes > image.length) refuse(`segment ${index} reaches past the end of the file`);
  const ramOffset = address - RAM_BASE;
  if (ramOffset < 0 || ramOffset + bytes > memoryBytes) {
    refuse(
      `segment ${index} is at ${hex(address)} to ${hex(address + bytes)}, and the machine's memory is at ` +
        `${hex(RAM_BASE)} to ${hex(RAM_BASE + memoryBytes)}`,
    );
  }
  return { offset, fileBytes, ramOffset, memoryBytes: bytes };
}

function refuseOverlap(segments: readonly Segment[]): void {
  const sorted = [...segments].sort((a, b) => a.ramOffset - b.ramOffset);
  sorted.forEach((segment, index) => {
    const next = sorted[index + 1];
    if (next && segment.ramOffset + segment.memoryBytes > next.ramOffset) {
      refuse(`two of its segments overlap at ${hex(next.ramOffset + RAM_BASE)}`);
    }
  });
}

/** Throws invalid-image if loadElf would, for a machine with `memoryBytes` of RAM. */
export function checkElf(image: Uint8Array, memoryBytes: number): void {
  parseElf(image, memoryBytes);
}

/**
 * Copies the executable into `ram` (whose first byte is at RAM_BASE, all of it zero) and returns its entry point.
 * Throws invalid-image, naming what is wrong, with nothing written.
 */
export function loadElf(image: Uint8Array, ram: Uint8Array): number {
  const { segments, entry } = parseElf(image, ram.length);
  for (const { offset, fileBytes, ramOffset } of segments) {
    ram.set(image.subarray(offset, offset + fileBytes), ramOffset);
  }
  return entry;
}
