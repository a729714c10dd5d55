import { readFile } from 'node:fs/promises';
import { openFiles } from '../support/open-files.js';

/**
 * What an agent's descriptors stand for, without its TCP connections: some are those by which it was asked last, and those of
 * the link are counted by the proxy.
 */
export async function heldFiles(pid: number): Promise<string[]> {
  const connections = new Set<string>();
  for (const table of ['tcp', 'tcp6']) {
    const text = await readFile(`/proc/${pid}/net/${table}`, 'latin1').catch(() => '');
    for (const line of text.split('\n').slice(1)) {
      const inode = line.trim().split(/\s+/)[9];
      if (inode !== undefined) connections.add(`socket:[${inode}]`);
    }
  }
  return openFiles(pid).filter((file) => !connections.has(file));
}

/** What the kernel follows writes of in a process: empty where the last harvest was the last trace of that. */
export async function userfaultfdTraces(pid: number): Promise<string[]> {
  const smaps = await readFile(`/proc/${pid}/smaps`, 'latin1');
  const registered = smaps.split('\n').filter((line) => /^VmFlags:.* u[wm]( |$)/.test(line));
  const descriptors = openFiles(pid).filter((file) => file.includes('userfaultfd'));
  return [
    ...(registered.length > 0 ? [`${registered.length} mappings of QEMU ${pid} are registered`] : []),
    ...descriptors.map((file) => `QEMU ${pid} holds ${file}`),
  ];
}
