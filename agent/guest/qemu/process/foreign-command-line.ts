import { MigrationError } from '../../../../shared/errors.js';
import { type QemuDefinition, QemuDefinitionSchema } from '../../../../shared/guest-definition.js';
import { validate } from '../../../../shared/validate.js';
import { formatOthers, parseOptionList } from './option-list.js';
import type { RamFile } from './ram-files.js';

/** A QEMU that somebody else has started, as a definition from which another node can start its like. */
export interface ForeignQemu {
  readonly definition: QemuDefinition;
  /** The files of its memory objects, in the order of the definition. */
  readonly ramFiles: readonly RamFile[];
}

/** What the agent sets itself, or what matters to nobody but whoever started that QEMU: with a value, and without. */
const DROPPED = [
  'name',
  'display',
  'vnc',
  'spice',
  'incoming',
  'pidfile',
  'qmp',
  'qmp-pretty',
  'monitor',
  'D',
  'msg',
  'sandbox',
];
const DROPPED_FLAGS = ['S', 'no-user-config', 'daemonize', 'no-shutdown', 'nographic'];
/** How RAM that an agent can copy is given to QEMU. */
const EXAMPLE_RAM =
  '-object memory-backend-file,id=ram0,size=SIZE,mem-path=/dev/shm/NAME.ram,share=on -machine ...,memory-backend=ram0';

interface Memory {
  readonly id: string;
  readonly type: string;
  readonly keys: ReadonlyMap<string, string>;
}

/**
 * Reads the arguments of a QEMU, those after the program's name; relative paths of the kernel begin at `directory`. Throws
 * unsupported-guest, with a remedy, where no QEMU on another node could take its guest over.
 */
export function readCommandLine(name: string, parameters: readonly string[], directory: string): ForeignQemu {
  return new Reader(name, directory).read(parameters);
}

class Reader {
  readonly #name: string;
  readonly #directory: string;
  readonly #fields: Record<string, unknown> = {};
  readonly #boot: Record<string, string> = {};
  readonly #rest: string[] = [];
  readonly #memories = new Map<string, Memory>();
  readonly #chardevs = new Map<string, string>();
  readonly #usedChardevs = new Set<string>();
  readonly #numa: ReadonlyMap<string, string>[] = [];
  #machineMemory: string | null = null;
  #nodefaults = false;
  #serials = 0;

  constructor(name: string, directory: string) {
    this.#name = name;
    this.#directory = directory;
  }

  read(parameters: readonly string[]): ForeignQemu {
    for (let index = 0; index < parameters.length; index += 1) {
      const text = parameters[index]!;
      const option = /^--?(.+)$/.exec(text)?.[1] ?? '';
      if (option === 'nodefaults') this.#nodefaults = true;
      else if (option === 'enable-kvm') this.#fields.accel = 'kvm';
      else if (DROPPED_FLAGS.includes(option)) continue;
      else if (DROPPED.includes(option)) index += 1;
      else if (this.#take(option, parameters[index + 1] ?? '')) index += 1;
      else this.#rest.push(text);
    }
    if (!this.#nodefaults) {
      throw this.#refuse('it has the devices that QEMU adds by itself', 'start it with -nodefaults');
    }
    return this.#result();
  }

  /** Takes an option with a value; false where that is none that is known here. */
  #take(option: string, text: string): boolean {
    switch (option) {
      case 'machine':
      case 'M':
        this.#machine(text);
        return true;
      case 'accel':
        this.#accelerator(text);
        return true;
      case 'cpu':
        this.#fields.cpu = text;
        return true;
      case 'smp':
        this.#processors(text);
        return true;
      case 'm':
        this.#memorySize(text);
        return true;
      case 'object':
        this.#object(text);
        return true;
      case 'numa':
        this.#numaNode(text);
        return true;
      case 'kernel':
      case 'initrd':
        this.#boot[option] = text.startsWith('/') ? text : `${this.#directory}/${text}`;
        return true;
      case 'append':
        this.#boot.append = text;
        return true;
      case 'vga':
        if (text !== 'none') this.#rest.push('-vga', text);
        return true;
      case 'serial':
        this.#serial(text);
        return true;
      case 'chardev':
        this.#chardevs.set(parseOptionList(text, 'backend').keys.get('id') ?? '', text);
        return true;
      case 'mon':
        this.#usedChardevs.add(parseOptionList(text, 'chardev').first ?? '');
        return true;
      default:
        return false;
    }
  }

  #machine(text: string): void {
    const { first, keys } = parseOptionList(text, 'type');
    if (first !== null) this.#fields.machine = first;
    if (keys.has('accel')) this.#accelerator(keys.get('accel')!.split(':')[0]!);
    this.#machineMemory = keys.get('memory-backend') ?? this.#machineMemory;
    const others = formatOthers(keys, ['accel', 'memory-backend']);
    if (others !== null) this.#rest.push('-machine', others);
  }

  #accelerator(text: string): void {
    const { first, keys } = parseOptionList(text, 'accel');
    if (first !== 'kvm' && first !== 'tcg') {
      throw this.#refuse(`its accelerator is '${first}'`, 'start it with -accel kvm or -accel tcg');
    }
    if (first === 'kvm' && keys.size > 0) {
      throw this.#refuse(`its accelerator has properties (${text})`, 'start it with -accel kvm');
    }
    this.#fields.accel = first;
  }

  #processors(text: string): void {
    const { first, keys } = parseOptionList(text, 'cpus');
    if (first !== null) this.#fields.cpus = Number(first);
    const others = formatOthers(keys, []);
    if (others !== null) this.#rest.push('-smp', others);
  }

  #memorySize(text: string): void {
    const { first, keys } = parseOptionList(text, 'size');
    if (keys.size > 0)
      throw this.#refuse('memory can be plugged into it (-m slots, maxmem)', 'start it without');
    this.#fields.memory = parseSize(first ?? '', 'M');
  }

  #object(text: string): void {
    const { first, keys } = parseOptionList(text, 'qom-type');
    if (!first?.startsWith('memory-backend-')) this.#rest.push('-object', text);
    else {
      const id = keys.get('id') ?? '';
      this.#memories.set(id, { id, type: first, keys });
    }
  }

  #numaNode(text: string): void {
    const { first, keys } = parseOptionList(text, 'type');
    const plain = [...keys.keys()].every((key) => key === 'nodeid' || key === 'memdev');
    if (first !== 'node' || !plain || Number(keys.get('nodeid') ?? this.#numa.length) !== this.#numa.length) {
      const remedy = `start it with '-numa node,nodeid=N,memdev=ramN' for each node, in order`;
      throw this.#refuse(`its NUMA nodes are more than memory (-numa ${text})`, remedy);
    }
    this.#numa.push(keys);
  }

  #serial(text: string): void {
    this.#serials += 1;
    if (text.startsWith('chardev:')) this.#usedChardevs.add(text.slice('chardev:'.length));
    if (this.#serials > 1) throw this.#refuse('it has several serial ports', 'start it with one');
    this.#fields.serial = text !== 'none';
  }

  #result(): ForeignQemu {
    const memories = this.#usedMemories();
    const ramFiles = memories.map((memory, index) => this.#ramFile(memory, index));
    for (const [id, text] of this.#chardevs) {
      if (!this.#usedChardevs.has(id)) this.#rest.unshift('-chardev', text);
    }
    const definition = {
      machine: 'pc',
      accel: 'tcg',
      memory: ramFiles.reduce((sum, { bytes }) => sum + bytes, 0),
      ...this.#fields,
      name: this.#name,
      kind: 'qemu',
      serial: this.#fields.serial ?? false,
      ...(memories.length > 1 ? { memoryObjects: ramFiles.map(({ bytes }) => ({ size: bytes })) } : {}),
      ...(this.#boot.kernel === undefined ? {} : { boot: this.#boot }),
      arguments: this.#rest,
    };
    const what = `what QEMU was started with, as a definition of VM ${this.#name},`;
    return { definition: validate(QemuDefinitionSchema, definition, 'unsupported-guest', what), ramFiles };
  }

  #usedMemories(): Memory[] {
    const ids =
      this.#machineMemory === null ? this.#numa.map((keys) => keys.get('memdev')) : [this.#machineMemory];
    if (ids.length === 0) {
      throw this.#refuse('its RAM is private to QEMU', `start it with ${EXAMPLE_RAM}`);
    }
    return ids.map((id) => {
      const memory = this.#memories.get(id ?? '');
      if (memory) return memory;
      throw this.#refuse(`it has no memory object '${id}'`, `start it with ${EXAMPLE_RAM}`);
    });
  }

  #ramFile({ id, type, keys }: Memory, index: number): RamFile {
    const path = keys.get('mem-path');
    if (type !== 'memory-backend-file' || path === undefined) {
      throw this.#refuse(`its RAM '${id}' is in no file (${type})`, `start it with ${EXAMPLE_RAM}`);
    }
    if (!['on', 'yes', 'true', 'y'].includes(keys.get('share') ?? 'off')) {
      throw this.#refuse(`its RAM '${id}' is not shared`, `start it with ${EXAMPLE_RAM}`);
    }
    // QEMU's stream names memory by these, so that both sides must have the same.
    if (id !== `ram${index}`) {
      throw this.#refuse(`its memory object ${index} is named '${id}'`, `start it with id=ram${index}`);
    }
    return { path, bytes: parseSize(keys.get('size') ?? '', '') };
  }

  #refuse(reason: string, remedy: string): MigrationError {
    const text = `the QEMU that is to become VM ${this.#name} can't be migrated: ${reason}; ${remedy}`;
    return new MigrationError('unsupported-guest', text);
  }
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};

/** A size as QEMU reads it: '1G', '512', '0.5G'; without a unit in that of `unit`. NaN where it is none. bytes */
function parseSize(text: string, unit: string): number {
  const [, number = '', suffix = ''] = /^(\d+(?:\.\d+)?)([bkmgt]?)$/i.exec(text) ?? [];
  if (number === '') return NaN;
  return Math.round(Number(number) * (SIZE_UNITS[suffix.toUpperCase() || unit] ?? 1));
}
