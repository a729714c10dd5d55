import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Longest that one program may run, in ms: a guard against one that never reaches the finisher. */
const TIME_LIMIT_MS = 60_000;

const QEMU = 'qemu-system-riscv32';

/** QEMU's CPU with what the embedded machine has: RV32IMA, Zicsr, Zifencei, machine mode, nothing else. */
export const REFERENCE_CPU =
  'rv32,c=off,f=off,d=off,v=off,h=off,s=off,u=off,mmu=off,pmp=off,sstc=off,zba=off,zbb=off,zbc=off,zbs=off,' +
  'Zihintpause=off,pmu-num=0,debug=off';

/** What a program printed on the reference, and the exit code that it gave the finisher. */
export interface ReferenceRun {
  output: Buffer;
  exitCode: number;
}

/**
 * Runs an image, loaded at the start of RAM, on QEMU's virt board until it powers off. With `elf` the image is an
 * ELF file, given to -kernel; `input` is what the UART receives, for programs that print little.
 */
export async function runOnQemu(
  image: Uint8Array,
  memoryBytes: number,
  { elf = false, input }: { elf?: boolean; input?: string } = {},
): Promise<ReferenceRun> {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-reference-'));
  try {
    const file = join(directory, 'image');
    const output = join(directory, 'output');
    await writeFile(file, image);
    const load = elf ? ['-kernel', file] : ['-device', `loader,file=${file},addr=0x80000000,force-raw=on`];
    const machine = [
      ...['-M', 'virt', '-bios', 'none', '-cpu', REFERENCE_CPU, '-m', `${memoryBytes / 2 ** 20}M`],
      ...['-display', 'none', '-monitor', 'none', ...load],
    ];
    if (input !== undefined) return await execute([...machine, '-serial', 'stdio'], input);
    // A file takes every byte at once: QEMU drops bytes when a pipe is full for long.
    const { exitCode } = await execute([...machine, '-serial', `file:${output}`], '');
    return { output: await readFile(output), exitCode };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Runs QEMU with these arguments and this standard input to its end. */
function execute(parameters: string[], input: string): Promise<ReferenceRun> {
  return new Promise((resolve, reject) => {
    const options = { encoding: 'buffer', timeout: TIME_LIMIT_MS } as const;
    const child = execFile(QEMU, parameters, options, (error, output, errors) => {
      if (error?.code === 'ENOENT') {
        const remedy = 'apt-get install qemu-system-misc';
        reject(new Error(`${QEMU} is not installed, and it is the reference of this test: ${remedy}`));
      } else if (errors.length > 0) {
        reject(new Error(`${QEMU} does not run the reference: ${errors.toString()}`));
      } else if (error && typeof error.code !== 'number') {
        reject(new Error(`${QEMU} did not end within ${TIME_LIMIT_MS} ms`, { cause: error }));
      } else {
        resolve({ output, exitCode: typeof error?.code === 'number' ? error.code : 0 });
      }
    });
    // Where QEMU cannot be started there is nobody to write to; the callback says so.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}
