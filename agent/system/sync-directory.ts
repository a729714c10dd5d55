import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

export async function openDirectory(path: string): Promise<FileHandle> {
  return await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
}

/** What was renamed, made or removed in it is still so after a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await openDirectory(path);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
