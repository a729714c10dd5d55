/** A segment of an ELF file to be written: its bytes, its address, and how much memory it takes. */
export interface ElfSegment {
  address: number;
  data: Uint8Array;
  /** Bytes in memory, those past the data zero; as many as the data has if not given. */
  memoryBytes?: number;
}

/** An ELF32 executable for RISC-V with these segments, as a linker would write it. */
export function elfFile(entry: number, segments: readonly ElfSegment[]): Uint8Array {
  const headerBytes = 52;
  const programHeaderBytes = 32;
  const dataOffset = headerBytes + segments.length * programHeaderBytes;
  const total = segments.reduce((bytes, { data }) => bytes + data.length, dataOffset);
  const file = new Uint8Array(total);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, 243, true); // EM_RISCV
  view.setUint32(20, 1, true);
  view.setUint32(24, entry, true);
  view.setUint32(28, headerBytes, true);
  view.setUint16(40, headerBytes, true);
  view.setUint16(42, programHeaderBytes, true);
  view.setUint16(44, segments.length, true);
  let offset = dataOffset;
  segments.forEach(({ address, data, memoryBytes }, index) => {
    const at = headerBytes + index * programHeaderBytes;
    view.setUint32(at, 1, true); // PT_LOAD
    view.setUint32(at + 4, offset, true);
    view.setUint32(at + 8, address, true);
    view.setUint32(at + 12, address, true);
    view.setUint32(at + 16, data.length, true);
    view.setUint32(at + 20, memoryBytes ?? data.length, true);
    view.setUint32(at + 24, 7, true); // read, write, execute
    view.setUint32(at + 28, 4, true);
    file.set(data, offset);
    offset += data.length;
  });
  return file;
}
