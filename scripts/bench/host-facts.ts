import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { promisify } from 'node:util';
import { VERSION } from '../../shared/version.js';
import type { HostFacts } from './bench-report.js';

const run = promisify(execFile);

/** How a program tells its version, and where in what it says that is. */
const PROGRAMS = {
  qemu: { command: 'qemu-system-x86_64', version: /version (\S+)/ },
  iperf3: { command: 'iperf3', version: /iperf (\S+)/ },
} as const;

export type BenchProgram = keyof typeof PROGRAMS;

/** This host, and the versions of the programs that a benchmark uses. */
export async function hostFacts(programs: readonly BenchProgram[] = []): Promise<HostFacts> {
  const versions: Record<string, string> = { node: process.version, vmferry: VERSION };
  for (const name of programs) versions[name] = await versionOf(name);
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    processors: availableParallelism(),
    memoryBytes: totalmem(),
    kernel: release(),
    hugePages: await chosen('/sys/kernel/mm/transparent_hugepage/shmem_enabled'),
    versions,
  };
}

async function versionOf(name: BenchProgram): Promise<string> {
  const { command, version } = PROGRAMS[name];
  const { stdout } = await run(command, ['--version']);
  return version.exec(stdout)?.[1] ?? 'unknown';
}

/** The word in brackets of a file like 'always [never]'. */
async function chosen(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return /\[(\w+)\]/.exec(text)?.[1] ?? 'unknown';
}
