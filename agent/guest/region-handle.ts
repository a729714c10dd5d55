import { MappedFile } from '../system/mapped-memory.js';
import type { Region, RegionHandle } from './guest.js';

/** Regions of a guest that belongs to another thread. */
export interface SharedRegions {
  readonly regions: readonly Region[];
  /** Lets go of the memory. Harmless when repeated. */
  release(): void;
}

/** Gets at the memory that the handles stand for. Throws what MappedFile does. */
export function openRegions(handles: readonly RegionHandle[]): SharedRegions {
  const files = new Map<string, MappedFile>();
  const release = () => {
    for (const file of files.values()) file.release();
  };
  try {
    const regions = handles.map((handle): Region => {
      const { name } = handle;
      if ('buffer' in handle) return { name, memory: new Uint8Array(handle.buffer) };
      const { path, fileBytes, window } = handle;
      const file = files.get(path) ?? MappedFile.open(path, fileBytes);
      files.set(path, file);
      return { name, ...file.windows[window]! };
    });
    return { regions, release };
  } catch (error) {
    release();
    throw error;
  }
}
