import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { type FieldPath, MigrationError } from '../../../shared/errors.js';
import { fileProblem } from '../../../shared/file-problem.js';
import type { QemuDefinition } from '../../../shared/guest-definition.js';
import { parseOptionList } from './process/option-list.js';

/** A file that QEMU is to open, and the field of the definition that names it. */
interface NamedFile {
  readonly what: string;
  readonly path: string;
  readonly field: FieldPath;
  readonly writable?: boolean;
}

/**
 * Throws invalid-definition, with the field, for a file that could not be opened on this host. For definitions that are given here: whoever
 * has written one is told while looking at it, and not by QEMU when it is started.
 */
export async function checkFiles(definition: QemuDefinition): Promise<void> {
  for (const { what, path, field, writable = false } of filesOf(definition)) {
    const problem = await problemOf(path, writable);
    if (problem === null) continue;
    const text = `the ${what} ${path} can't be used on this node: ${problem}; put it there first, or correct the path`;
    throw new MigrationError('invalid-definition', text, { field });
  }
}

function filesOf({ boot, disks, arguments: parameters }: QemuDefinition): NamedFile[] {
  return [
    ...(boot ? [{ what: 'kernel', path: boot.kernel, field: ['boot', 'kernel'] }] : []),
    ...(boot?.initrd === undefined ? [] : [{ what: 'initrd', path: boot.initrd, field: ['boot', 'initrd'] }]),
    ...disks.map(({ file, readonly }, index) => ({
      what: 'disk',
      path: file,
      field: ['disks', index, 'file'],
      writable: !readonly,
    })),
    ...parameters.flatMap((text, index) => {
      const path = firmwareOf(parameters[index - 1], text);
      return path === null ? [] : [{ what: 'firmware', path, field: ['arguments', index] }];
    }),
  ];
}

/** The file in the value of a `-bios`, or of a `-drive` that is a flash memory; null of other arguments. QEMU looks for a bare name itself. */
function firmwareOf(option: string | undefined, value: string): string | null {
  let path: string | undefined;
  if (option === '-bios') path = value;
  else if (option === '-drive') {
    const { keys } = parseOptionList(value, '');
    if (keys.get('if') === 'pflash') path = keys.get('file');
  }
  return path?.startsWith('/') === true ? path : null;
}

async function problemOf(path: string, writable: boolean): Promise<string | null> {
  try {
    const info = await stat(path);
    if (info.isDirectory()) return 'it is a directory';
    if (!info.isFile() && !info.isBlockDevice()) return 'it is neither a file nor a block device';
    await access(path, writable ? constants.R_OK | constants.W_OK : constants.R_OK);
    return null;
  } catch (error) {
    return fileProblem(error);
  }
}
