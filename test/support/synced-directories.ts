import fs, { readdirSync, readlinkSync, statSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/** A directory that was synced, and what was in it then. */
export interface SyncedDirectory {
  readonly path: string;
  readonly entries: readonly string[];
}

/** Every directory that this process syncs until the end of the test, in order: what is renamed or removed lasts from then on. */
export function recordSyncedDirectories(t: { teardown(callback: () => void): void }): SyncedDirectory[] {
  const synced: SyncedDirectory[] = [];
  const { fsync } = fs;
  const recording: typeof fs.fsync = Object.assign(
    (fd: number, callback: fs.NoParamCallback) => {
      fsync(fd, (error) => {
        const path = readlinkSync(`/proc/self/fd/${fd}`);
        if (!error && statSync(path).isDirectory()) synced.push({ path, entries: readdirSync(path).sort() });
        callback(error);
      });
    },
    { __promisify__: fsync.__promisify__ },
  );
  fs.fsync = recording;
  syncBuiltinESMExports();
  t.teardown(() => {
    fs.fsync = fsync;
    syncBuiltinESMExports();
  });
  return synced;
}
