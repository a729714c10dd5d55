import { z } from 'zod';
import type { QmpConnection } from '../qmp/qmp-connection.js';
import type { QemuVersion } from '../qmp/qmp-message.js';
import { queryQmp } from '../qmp/qmp-query.js';
import { findBinary } from './find-binary.js';
import { askQemu } from './probe-process.js';
import { type AcceleratorTrial, tryAccelerator } from './try-accelerator.js';

/** What the QEMU of this host can do. */
export interface QemuHost {
  /** Path of the program. */
  readonly binary: string;
  readonly version: QemuVersion;
  /** As QEMU names it: 'x86_64'. */
  readonly arch: string;
  /** Names of machine types and of their aliases, with the type that each one stands for: 'q35' is 'pc-q35-7.2'. */
  readonly machines: ReadonlyMap<string, string>;
  readonly kvm: AcceleratorTrial;
  /** CPU models, each with the features that it would lack here under TCG, and under KVM where that works. */
  readonly cpuModels: { readonly tcg: CpuModels; readonly kvm: CpuModels | null };
  readonly migrationCapabilities: ReadonlySet<string>;
}

export type CpuModels = ReadonlyMap<string, readonly string[]>;

const TargetSchema = z.object({ arch: z.string() });
const MachinesSchema = z.array(z.object({ name: z.string(), alias: z.string().optional() }));
const CpusSchema = z.array(
  z.object({ name: z.string(), 'unavailable-features': z.array(z.string()).default([]) }),
);
const CapabilitiesSchema = z.array(z.object({ capability: z.string() }));

const NO_MACHINE = ['-machine', 'none'];

/** Asks the QEMU of this host about itself; again only when another one is installed. */
export class QemuHostProbe {
  readonly #binary: string;
  #known: { identity: string; host: Promise<QemuHost> } | null = null;

  /** `binary`: a path, or a name that is looked for in PATH. */
  constructor(binary: string) {
    this.#binary = binary;
  }

  /** Rejects with unsupported-guest if there is no QEMU, or none that works. */
  async host(): Promise<QemuHost> {
    const { path, identity } = await findBinary(this.#binary);
    if (this.#known?.identity === identity) return await this.#known.host;
    const known = { identity, host: probe(path) };
    this.#known = known;
    try {
      return await known.host;
    } catch (error) {
      if (this.#known === known) this.#known = null;
      throw error;
    }
  }
}

async function probe(binary: string): Promise<QemuHost> {
  const plain = await askQemu(binary, [...NO_MACHINE, '-accel', 'tcg'], async (qmp) => {
    const { arch } = await queryQmp(qmp, TargetSchema, 'query-target');
    const machines = await queryQmp(qmp, MachinesSchema, 'query-machines');
    const capabilities = await queryQmp(qmp, CapabilitiesSchema, 'query-migrate-capabilities');
    return {
      version: qmp.version,
      arch,
      machines: machineTypes(machines),
      migrationCapabilities: new Set(capabilities.map(({ capability }) => capability)),
      tcg: await cpuModels(qmp),
    };
  });
  const { tcg, ...known } = plain;
  const kvm =
    plain.arch === 'x86_64'
      ? await tryAccelerator(binary, 'kvm', 'host')
      : { usable: false, reason: `KVM is not tried for ${plain.arch}` };
  const models = kvm.usable ? await askQemu(binary, [...NO_MACHINE, '-accel', 'kvm'], cpuModels) : null;
  return { binary, ...known, kvm, cpuModels: { tcg, kvm: models } };
}

function machineTypes(machines: z.output<typeof MachinesSchema>): ReadonlyMap<string, string> {
  const types = new Map(machines.map(({ name }) => [name, name]));
  for (const { name, alias } of machines) if (alias !== undefined) types.set(alias, name);
  return types;
}

async function cpuModels(qmp: QmpConnection): Promise<CpuModels> {
  const models = await queryQmp(qmp, CpusSchema, 'query-cpu-definitions');
  return new Map(models.map((model) => [model.name, model['unavailable-features']]));
}
