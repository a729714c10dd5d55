import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Test } from 'tap';
import type { TrackedRegion } from '../../../../agent/guest/qemu/write-log/tracked-region.js';
import { MappedFile } from '../../../../agent/system/mapped-memory.js';
import type { Run } from '../../../../shared/page.js';
import { ramFile } from '../../../system/ram-file.js';

export interface WriterCommand {
  do: 'write' | 'read' | 'kernel-write' | 'clear' | 'map-again';
  file: number;
  pages: number[];
}

/** A process that writes to RAM files on command. Everything is removed when the test ends. */
export class WriterProcess {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly files: readonly MappedFile[];
  /** One of each file. */
  readonly regions: readonly TrackedRegion[];

  static async start(t: Test, bytes: number, files = 1): Promise<WriterProcess> {
    const paths = Array.from({ length: files }, () => ramFile(t, bytes));
    const child = fork(new URL('writer.js', import.meta.url), [String(bytes), ...paths]);
    const ended = once(child, 'exit');
    t.teardown(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    await once(child, 'message');
    const mapped = paths.map((path) => MappedFile.open(path, bytes));
    t.teardown(() => mapped.forEach((file) => file.release()));
    return new WriterProcess(child, mapped);
  }

  private constructor(child: ChildProcess, files: MappedFile[]) {
    this.process = child;
    this.pid = child.pid!;
    this.files = files;
    this.regions = files.map((file) => ({
      device: file.device,
      inode: file.inode,
      fileOffset: 0,
      memory: file.windows[0]!.memory,
      populated: (firstPage, pageCount) => file.windows[0]!.populated(firstPage, pageCount),
      allocatedPages: () => file.allocatedPages(),
    }));
  }

  /** Resolves once it is done. */
  async do(action: WriterCommand['do'], pages: number[] = [], file = 0): Promise<void> {
    const done = once(this.process, 'message');
    this.process.send({ do: action, file, pages } satisfies WriterCommand);
    await done;
  }

  async kill(): Promise<void> {
    const ended = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await ended;
  }
}

/** The pages of one region that are in runs. */
export function pagesOf(runs: readonly Run[], region = 0): number[] {
  return runs
    .filter((run) => run.region === region)
    .flatMap(({ firstPage, pageCount }) => Array.from({ length: pageCount }, (_, i) => firstPage + i));
}
