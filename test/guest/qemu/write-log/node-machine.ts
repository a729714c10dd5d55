import { execFile, spawn } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import { fetchedForGuests } from '../../../../scripts/lab/guests/checkout.js';
import { type ArchiveEntry, initramfs } from '../../../../scripts/lab/guests/linux/initramfs.js';

const CHECKOUT = fileURLToPath(new URL('../../../../../', import.meta.url));
/** What a program needs that follows writes. */
const MODULES = ['dist/agent', 'dist/shared', 'dist/test', 'package.json'].concat(
  ['koffi', '@koromix', 'xxhash-wasm'].map((name) => `node_modules/${name}`),
);
/** Sources of koffi, for those who compile it. */
const LEFT_OUT = ['vendor', 'doc'];

const INIT = (program: string): string => `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev/shm
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mkdir -p /dev/shm
/bin/busybox mount -t tmpfs shm /dev/shm
cd /checkout
${process.execPath} /checkout/dist/${program} 2>&1
/bin/busybox poweroff -f
`;

/**
 * Boots the Linux that is fetched for guests in a virtual machine, runs a module of this checkout there with this node
 * (its path below dist/), and returns what it printed.
 */
export async function runInMachine(t: Test, program: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-test-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const archive = join(directory, 'initrd');
  await writeFile(archive, initramfs(await machineFiles(program)));
  const log = join(directory, 'console');
  const args = [
    '-accel',
    'tcg',
    '-cpu',
    'max',
    '-smp',
    '2',
    '-M',
    'q35',
    '-m',
    '2G',
    '-nodefaults',
    '-no-reboot',
  ];
  args.push('-display', 'none', '-serial', `file:${log}`, '-kernel', fetchedForGuests('kernel/vmlinuz'));
  args.push('-initrd', archive, '-append', 'console=ttyS0 rdinit=/init quiet loglevel=1 mitigations=off');
  const machine = spawn('qemu-system-x86_64', args, { stdio: 'inherit' });
  t.teardown(() => machine.kill('SIGKILL'));
  await new Promise((resolve) => machine.once('exit', resolve));
  return readFileSync(log, 'utf8');
}

async function machineFiles(program: string): Promise<ArchiveEntry[]> {
  const { stdout } = await promisify(execFile)('ldd', [process.execPath]);
  const libraries = stdout.match(/\/\S+/g) ?? [];
  const files = new Map<string, Uint8Array | null>();
  const add = (name: string, content: Uint8Array | null): void => {
    const folder = dirname(name);
    if (folder !== '/' && !files.has(folder)) add(folder, null);
    files.set(name, content);
  };
  const addAll = (path: string): void => {
    if (!statSync(path).isDirectory())
      return add(join('/checkout', relative(CHECKOUT, path)), readFileSync(path));
    for (const name of readdirSync(path)) if (!LEFT_OUT.includes(name)) addAll(join(path, name));
  };
  for (const path of [process.execPath, ...libraries]) add(path, readFileSync(path));
  for (const path of MODULES) addAll(join(CHECKOUT, path));
  add('/bin/busybox', readFileSync('/bin/busybox'));
  add('/init', Buffer.from(INIT(program)));
  return [
    { name: 'dev', mode: 0o040755 },
    { name: 'dev/console', mode: 0o020600, device: [5, 1] },
    ...Array.from(files, ([name, content]) =>
      content === null
        ? { name: name.slice(1), mode: 0o040755 }
        : { name: name.slice(1), mode: 0o100755, content },
    ),
  ];
}
