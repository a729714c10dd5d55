import { readdirSync, readFileSync } from 'node:fs';

/**
 * The QEMUs of this host that have a file in `directory` on their command line, by process id: those whose RAM lies there. A
 * QEMU outlives its agent, so whoever started agents for a while ends what is left by this.
 */
export function qemuProcesses(directory: string): number[] {
  return processesOf(directory, (program) => program.includes('qemu-system'));
}

/** All processes of this host that have a file in `directory` on their command line, by process id. */
export function processesOf(
  directory: string,
  isWanted: (program: string) => boolean = () => true,
): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const [program = '', ...parameters] = commandLine(pid);
      return isWanted(program) && parameters.some((text) => text.includes(`${directory}/`));
    });
}

/** Empty for a process that has ended. */
function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
  } catch {
    return [];
  }
}
