import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { buildTool } from '../build-tool.js';

export interface KernelModule {
  readonly name: string;
  readonly content: Uint8Array;
}

/**
 * Modules of an unpacked kernel, `directory` being what goes to /lib/modules/VERSION, with all that they need, in the
 * order in which they are to be loaded. What is built into the kernel is left out.
 */
export async function kernelModules(directory: string, wanted: readonly string[]): Promise<KernelModule[]> {
  const builtIn = new Set(
    (await readFile(join(directory, 'modules.builtin'), 'utf8')).split('\n').map(moduleName),
  );
  const files = new Map<string, string>();
  for (const file of await readdir(directory, { recursive: true })) {
    if (/\.ko(\.xz)?$/.test(file)) files.set(moduleName(file), join(directory, file));
  }
  const loaded = new Map<string, KernelModule>();
  const load = async (name: string): Promise<void> => {
    if (loaded.has(name) || builtIn.has(name)) return;
    const file = files.get(name);
    if (file === undefined) throw new Error(`the guest's kernel has no module ${name} in ${directory}`);
    const content = file.endsWith('.xz') ? await buildTool('xz', '-dc', file) : await readFile(file);
    for (const needed of neededModules(content)) await load(needed);
    loaded.set(name, { name, content });
  };
  for (const name of wanted) await load(name);
  return [...loaded.values()];
}

/** 'kernel/drivers/virtio/virtio-rng.ko' is the module virtio_rng. */
function moduleName(file: string): string {
  return basename(file)
    .replace(/\.ko(\.xz)?$/, '')
    .replaceAll('-', '_');
}

/** What a module says that it needs: 'depends=a,b' in its table of properties, each ended by a zero. */
function neededModules(content: Buffer): string[] {
  const key = '\0depends=';
  const start = content.indexOf(key, 0, 'latin1') + key.length;
  if (start < key.length) return [];
  const value = content.toString('latin1', start, content.indexOf(0, start));
  return value
    .split(',')
    .filter((name) => name !== '')
    .map(moduleName);
}
