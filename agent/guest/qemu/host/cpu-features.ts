import { readFile } from 'node:fs/promises';

/** The processor of a host: what a guest with '-cpu host' sees of it. */
export interface HostCpu {
  /** 'GenuineIntel', 'AuthenticAMD' */
  readonly vendor: string;
  /** Family, model and stepping; two of the same are one kind of processor. */
  readonly signature: string;
  readonly name: string;
  /** As Linux names them, ascending. */
  readonly flags: readonly string[];
}

export async function readHostCpu(): Promise<HostCpu> {
  return parseCpuInfo(await readFile('/proc/cpuinfo', 'latin1'));
}

/** The first processor of /proc/cpuinfo. What is not there is empty. */
export function parseCpuInfo(text: string): HostCpu {
  const [first = ''] = text.split('\n\n');
  const fields = new Map(
    first.split('\n').map((line) => {
      const [name = '', value = ''] = line.split(/\s*:\s*/, 2);
      return [name, value.trim()];
    }),
  );
  const field = (name: string) => fields.get(name) ?? '';
  return {
    vendor: field('vendor_id'),
    signature: ['cpu family', 'model', 'stepping'].map(field).join('-'),
    name: field('model name'),
    flags: field('flags').split(' ').filter(Boolean).sort(),
  };
}
