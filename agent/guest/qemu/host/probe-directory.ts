import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isOfDeadMaker, makerName } from '../process/maker.js';

const PREFIX = 'vmferry-probe-';

/** Runs `use` with a directory of its own for what a QEMU is tried with, which is gone afterwards. */
export async function inProbeDirectory<Result>(use: (directory: string) => Promise<Result>): Promise<Result> {
  const directory = join(tmpdir(), PREFIX + makerName());
  await mkdir(directory, { mode: 0o700 });
  try {
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Removes those that agents of this user have left which are no more. */
export async function removeLostProbeDirectories(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!isOfDeadMaker(name, [PREFIX])) continue;
    const path = join(tmpdir(), name);
    const info = await lstat(path).catch(() => null);
    if (info?.isDirectory() && info.uid === process.geteuid!())
      await rm(path, { recursive: true, force: true });
  }
}
