import fs, { readdirSync, readlinkSync, statSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { dirname } from 'node:path';

/** A directory that was synced, and what was in it then. */
export interface SyncedDirectory {
  readonly path: string;
  readonly entries: readonly string[];
}

type Teardown = { teardown(callback: () => void): void };

/** Every directory that this process syncs until the end of the test, in order: what is renamed or removed lasts from then on. */
export function recordSyncedDirectories(t: Teardown): SyncedDirectory[] {
  const synced: SyncedDirectory[] = [];
  replaceFsync(t, (fsync) => (fd, callback) => {
    fsync(fd, (error) => {
      const path = pathOf(fd);
      if (!error && statSync(path).isDirectory()) synced.push({ path, entries: readdirSync(path).sort() });
      callback(error);
    });
  });
  return synced;
}

/** A disk that fails as it is told to. */
export interface FailingDisk {
  /** So many of the next syncs of the directory end with EIO. */
  syncs: number;
  /** Whether what is to be removed from it does. */
  remove: boolean;
}

/** Lets the disk of one directory fail, until the end of the test: it is well until a field is set. */
export function failingDisk(t: Teardown, directory: string): FailingDisk {
  const disk: FailingDisk = { syncs: 0, remove: false };
  const failure = (syscall: string) =>
    Object.assign(new Error(`EIO: i/o error, ${syscall}`), { code: 'EIO', syscall });
  replaceFsync(t, (fsync) => (fd, callback) => {
    if (disk.syncs === 0 || pathOf(fd) !== directory) fsync(fd, callback);
    else {
      disk.syncs -= 1;
      callback(failure('fsync'));
    }
  });
  const { rm } = fs.promises;
  fs.promises.rm = async (path, options) => {
    if (disk.remove && dirname(String(path)) === directory) throw failure('unlink');
    await rm(path, options);
  };
  syncBuiltinESMExports();
  t.teardown(() => {
    fs.promises.rm = rm;
    syncBuiltinESMExports();
  });
  return disk;
}

type Fsync = (fd: number, callback: fs.NoParamCallback) => void;

function replaceFsync(t: Teardown, replacement: (fsync: Fsync) => Fsync): void {
  const { fsync } = fs;
  fs.fsync = Object.assign(replacement(fsync), { __promisify__: fsync.__promisify__ });
  syncBuiltinESMExports();
  t.teardown(() => {
    fs.fsync = fsync;
    syncBuiltinESMExports();
  });
}

function pathOf(fd: number): string {
  return readlinkSync(`/proc/self/fd/${fd}`);
}
