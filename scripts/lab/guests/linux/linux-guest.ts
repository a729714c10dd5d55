import { readFile, rm, writeFile } from 'node:fs/promises';
import { buildTool } from '../build-tool.js';
import { fetchedForGuests, guestSource } from '../checkout.js';
import { initramfs } from './initramfs.js';
import { kernelModules } from './kernel-modules.js';

/** Processes that use memory, as in memory-worker.c. */
export interface MemoryWork {
  /** What it checks in a loop. */
  readonly mib: number;
  /** What it writes of it before each pass. */
  readonly hotMiB: number;
}

/** What a benchmark has a guest do, as in workload.c. */
export interface Load {
  readonly activity: 'idle' | 'rewrite' | 'xor' | 'read';
  readonly content: 'incompressible' | 'compressible' | 'zero-rich';
  /** What it fills. */
  readonly mib: number;
  /** What it rewrites. */
  readonly hotMiB: number;
  /** Most that it writes; 0: as fast as it can. */
  readonly pagesPerSecond: number;
}

/** What the guest does, as in its first program, `init`. */
export interface LinuxWork {
  readonly memory?: readonly MemoryWork[];
  readonly load?: Load;
  /** Writes files to its first virtio disk. */
  readonly disk?: boolean;
  /** Address and length of the network's prefix, '10.0.0.2/24': answers pings and echoes on TCP port 7. */
  readonly address?: string;
}

/** What boots it: goes into a VM's definition as `boot`. */
export interface LinuxBoot {
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
}

const MODULES = ['virtio_pci', 'virtio_blk', 'virtio_net', 'ext4', 'pvpanic_mmio'];
const BUSYBOX = '/bin/busybox';

/** Modes as in stat(2). */
const FOLDER = 0o040755;
const PROGRAM = 0o100755;
const CONSOLE = 0o020600;

/** Builds the first file system of the Linux guest into a file. */
export async function buildLinuxGuest(file: string): Promise<void> {
  const modules = await kernelModules(fetchedForGuests('kernel/modules'), MODULES);
  const folders = ['bin', 'dev', 'proc', 'sys', 'modules'].map((name) => ({ name, mode: FOLDER }));
  const archive = initramfs([
    ...folders,
    { name: 'dev/console', mode: CONSOLE, device: [5, 1] },
    { name: 'init', mode: PROGRAM, content: await readFile(guestSource('linux/init')) },
    { name: 'bin/busybox', mode: PROGRAM, content: await readFile(BUSYBOX) },
    { name: 'bin/memory-worker', mode: PROGRAM, content: await built('memory-worker', file) },
    { name: 'bin/workload', mode: PROGRAM, content: await built('workload', file) },
    ...modules.map(({ name, content }) => ({ name: `modules/${name}.ko`, mode: PROGRAM, content })),
    {
      name: 'modules/order',
      mode: PROGRAM,
      content: Buffer.from(modules.map(({ name }) => `${name}.ko\n`).join('')),
    },
  ]);
  await writeFile(file, archive);
}

/** How the guest boots with a file that buildLinuxGuest() made; `more`: other parameters of the kernel. */
export function linuxBoot(
  initrd: string,
  { memory = [], load, disk = false, address }: LinuxWork,
  more = '',
): LinuxBoot {
  const work = memory.map(({ mib, hotMiB }) => `${mib}:${hotMiB}`).join(',');
  const parameters = [
    'console=ttyS0 quiet loglevel=1 rdinit=/init mitigations=off',
    ...(work === '' ? [] : [`work=${work}`]),
    ...(load === undefined ? [] : [`load=${loadParameter(load)}`]),
    ...(disk ? ['disk=1'] : []),
    ...(address === undefined ? [] : [`address=${address}`]),
    ...(more === '' ? [] : [more]),
  ];
  return { kernel: fetchedForGuests('kernel/vmlinuz'), initrd, append: parameters.join(' ') };
}

function loadParameter({ activity, content, mib, hotMiB, pagesPerSecond }: Load): string {
  return [activity, content, mib, hotMiB, pagesPerSecond].join(':');
}

/** Programs of the guest that run on any Linux of this architecture. */
type GuestProgram = 'memory-worker' | 'workload';

/** Builds one of them into the file `program`. */
export async function buildGuestProgram(name: GuestProgram, program: string): Promise<void> {
  await buildTool('tcc', '-nostdlib', '-nostdinc', '-static', '-o', program, guestSource(`linux/${name}.c`));
}

async function built(name: GuestProgram, archive: string): Promise<Buffer> {
  const program = `${archive}.${name}`;
  try {
    await buildGuestProgram(name, program);
    return await readFile(program);
  } finally {
    await rm(program, { force: true });
  }
}
