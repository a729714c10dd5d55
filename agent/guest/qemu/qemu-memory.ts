import type { QemuDefinition } from '../../../shared/guest-definition.js';
import { type Run, unionRuns } from '../../../shared/page.js';
import { MappedFile, MAX_WINDOW_BYTES } from '../../system/mapped-memory.js';
import type { Region } from '../guest.js';
import type { RamFile } from './process/ram-files.js';
import { populatedSlices, type TrackedRegion } from './write-log/tracked-region.js';

/**
 * The memory of a QEMU guest, mapped: QEMU's memory objects in their order, each in windows of a size that one array can
 * have. The first window of object n is 'ramN', the others 'ramN.1' and so on.
 */
export class QemuMemory {
  readonly regions: readonly Region[];
  readonly tracked: readonly TrackedRegion[];
  readonly #files: readonly MappedFile[];

  /** Maps files that exist. Throws what MappedFile does. */
  static open(files: readonly RamFile[]): QemuMemory {
    const mapped: MappedFile[] = [];
    try {
      for (const { path, bytes } of files) mapped.push(MappedFile.open(path, bytes));
    } catch (error) {
      for (const file of mapped) file.release();
      throw error;
    }
    return new QemuMemory(mapped, files);
  }

  private constructor(files: readonly MappedFile[], origins: readonly RamFile[]) {
    this.#files = files;
    this.regions = files.flatMap((file, object) =>
      file.windows.map((window, index) => {
        const name = windowName(object, index);
        const { path, bytes: fileBytes } = origins[object]!;
        return { ...window, name, handle: { name, path, fileBytes, window: index } };
      }),
    );
    this.tracked = files.flatMap((file) =>
      file.windows.map((window, index) => ({
        device: file.device,
        inode: file.inode,
        fileOffset: index * MAX_WINDOW_BYTES,
        memory: window.memory,
        populated: (firstPage: number, pageCount: number) => window.populated(firstPage, pageCount),
        allocatedPages: () => file.allocatedPages(),
      })),
    );
  }

  /** All that is not a hole. Other work has its turn meanwhile. */
  async populated(): Promise<Run[]> {
    const runs: Run[] = [];
    for (const [region, window] of this.tracked.entries()) {
      for await (const { populated } of populatedSlices(window)) {
        for (const range of populated) runs.push({ region, ...range });
      }
    }
    return unionRuns(runs);
  }

  /** Unmaps it. Whoever still has a view of it reads zeros. */
  release(): void {
    for (const file of this.#files) file.release();
  }
}

/** The regions that a guest of that definition has. */
export function memoryLayout(definition: QemuDefinition): { name: string; bytes: number }[] {
  return objectSizes(definition).flatMap((size, object) => {
    const windows = Math.ceil(size / MAX_WINDOW_BYTES);
    return Array.from({ length: windows }, (_, index) => ({
      name: windowName(object, index),
      bytes: Math.min(MAX_WINDOW_BYTES, size - index * MAX_WINDOW_BYTES),
    }));
  });
}

/** Sizes of its memory objects. bytes */
export function objectSizes({ memory, memoryObjects }: QemuDefinition): number[] {
  return memoryObjects?.map(({ size }) => size) ?? [memory];
}

function windowName(object: number, index: number): string {
  return index === 0 ? `ram${object}` : `ram${object}.${index}`;
}
