import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Runs a program that builds a part of a guest (as, ld, tcc, xz); what it wrote to standard output. Throws with what the
 * program said, or how to get it.
 */
export async function buildTool(program: string, ...parameters: string[]): Promise<Buffer> {
  try {
    const { stdout } = await run(program, parameters, { encoding: 'buffer', maxBuffer: 2 ** 28 });
    return stdout;
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: Buffer };
    const reason =
      code === 'ENOENT' ? 'it is not installed: ./scripts/prepare --qemu' : (stderr?.toString().trim() ?? '');
    throw new Error(`${program} can't build the guest: ${reason}`, { cause: error });
  }
}
