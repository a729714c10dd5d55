import { open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MigrationError } from '../../../../shared/errors.js';
import type { QemuDefinition } from '../../../../shared/guest-definition.js';
import { formatBytes } from '../../../../shared/units.js';
import { makerName } from './maker.js';

/** A guest's memory objects: where each one's file is to be, and its size in bytes. */
export interface RamFile {
  readonly path: string;
  readonly bytes: number;
}

/**
 * Names for the files of a guest's RAM that nobody has used before. Those with huge pages lie in the hugetlbfs of that
 * page size, the others in `memoryDirectory`. Throws invalid-definition where no such hugetlbfs is mounted.
 */
export async function planRamFiles(
  definition: QemuDefinition,
  node: string,
  memoryDirectory: string,
): Promise<RamFile[]> {
  const unique = makerName();
  const objects: { size: number; hugepages?: number | undefined }[] = definition.memoryObjects ?? [
    { size: definition.memory },
  ];
  return await Promise.all(
    objects.map(async ({ size, hugepages }, index) => {
      const directory =
        hugepages === undefined ? memoryDirectory : await hugepageDirectory(definition, hugepages);
      return {
        path: join(directory, `${prefixOf(node)}${definition.name}-${unique}-${index}.ram`),
        bytes: size,
      };
    }),
  );
}

/** How names of RAM files begin that an agent of that node has made. */
export function ramFilePrefixes(node: string): string[] {
  return [SCRATCH, prefixOf(node)];
}

/** No id of a node holds a colon: those of node 'a' are not taken for those of node 'a-b'. */
function prefixOf(node: string): string {
  return `vmferry-${node}:`;
}

const SCRATCH = 'vmferry-scratch-';

/** A name for a file of memory that belongs to no guest. */
export function scratchFile(directory: string, bytes: number): RamFile {
  return { path: join(directory, `${SCRATCH}${makerName()}-0.ram`), bytes };
}

/** Creates the files, all holes. Throws target-out-of-memory. */
export async function createRamFiles(files: readonly RamFile[]): Promise<void> {
  for (const { path, bytes } of files) {
    try {
      const file = await open(path, 'wx', 0o600);
      try {
        await file.truncate(bytes);
      } finally {
        await file.close();
      }
    } catch (error) {
      const text = `the RAM file ${path} of ${formatBytes(bytes)} can't be made: ${(error as Error).message}`;
      throw new MigrationError('target-out-of-memory', text, { cause: error });
    }
  }
}

/** Removes what is there of them. */
export async function removeRamFiles(paths: readonly string[]): Promise<void> {
  for (const path of paths) await rm(path, { force: true });
}

/** Where huge pages of that size are mounted. */
async function hugepageDirectory({ name }: QemuDefinition, bytes: number): Promise<string> {
  const sizes = [`pagesize=${bytes / 2 ** 20}M`, `pagesize=${bytes / 2 ** 10}K`];
  const mounts = await hugepageMounts();
  const found = mounts.find(({ options }) => options.some((option) => sizes.includes(option)));
  if (found) return found.directory;
  const text =
    `VM ${name} wants huge pages of ${formatBytes(bytes)} and no hugetlbfs of them is mounted here: ` +
    `mount -t hugetlbfs -o pagesize=${bytes / 2 ** 20}M none /dev/hugepages`;
  throw new MigrationError('invalid-definition', text);
}

/** The file systems of huge pages that are mounted, in the order of their mounts. */
export async function hugepageMounts(): Promise<{ directory: string; options: string[] }[]> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' '));
  return mounts.flatMap(([, directory, type, options = '']) =>
    type === 'hugetlbfs' && directory !== undefined ? [{ directory, options: options.split(',') }] : [],
  );
}
