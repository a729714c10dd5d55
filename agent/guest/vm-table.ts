import { MigrationError } from '../../shared/errors.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import { formatBytes } from '../../shared/units.js';
import type { OwnershipJournal } from '../journal/ownership-journal.js';
import type { DefinitionFiles } from './definition-files.js';
import { HostedVm } from './hosted-vm.js';

/** Guests that one node may have defined; bounds what clients and peers can make an agent keep. */
export const MAX_GUESTS = 1024;

/** What is asked of the ownership journal about a node's VMs. */
export type Decisions = Pick<OwnershipJournal, 'get' | 'entries'>;

export interface VmTableOptions {
  node: string;
  files: DefinitionFiles;
  journal: Decisions;
  /** Most memory of all guests together. */
  memoryLimitBytes: number;
}

/** The VMs of one node, here and on disk: which there are, and the names and the memory that they take. */
export class VmTable {
  readonly memoryLimitBytes: number;
  readonly #node: string;
  readonly #files: DefinitionFiles;
  readonly #journal: Decisions;
  readonly #vms = new Map<string, HostedVm>();
  /** Names of machines that are being taken over. */
  readonly #adopting = new Set<string>();

  private constructor({ node, files, journal, memoryLimitBytes }: VmTableOptions) {
    this.memoryLimitBytes = memoryLimitBytes;
    this.#node = node;
    this.#files = files;
    this.#journal = journal;
  }

  /** Reads the definitions, those of guests that had come here included. Throws invalid-definition. */
  static async open(options: VmTableOptions): Promise<VmTable> {
    const { files, journal } = options;
    const table = new VmTable(options);
    await files.settleArrivals((migration) => journal.get(migration)?.decision === 'committed');
    for (const { definition, image } of await files.load()) table.add(new HostedVm(definition, image));
    return table;
  }

  get memoryUsedBytes(): number {
    let bytes = 0;
    for (const vm of this.#vms.values()) if (vm.memoryTaken) bytes += vm.definition.memory;
    return bytes;
  }

  get memoryFreeBytes(): number {
    return this.memoryLimitBytes - this.memoryUsedBytes;
  }

  all(): HostedVm[] {
    return [...this.#vms.values()];
  }

  find(name: string): HostedVm | undefined {
    return this.#vms.get(name);
  }

  /** Throws not-found. */
  get(name: string): HostedVm {
    const vm = this.#vms.get(name);
    if (vm) return vm;
    throw new MigrationError(
      'not-found',
      `VM ${name} is not defined on node ${this.#node}: see 'vmferry vm list'`,
    );
  }

  /** Enters it here alone; save() has it last. */
  add(vm: HostedVm): void {
    this.#vms.set(vm.name, vm);
  }

  /** Takes back what add() did. */
  delete(name: string): void {
    this.#vms.delete(name);
  }

  /** Resolves once its definition and image last. */
  async save({ definition, image }: HostedVm): Promise<void> {
    await this.#files.save({ definition, image });
  }

  /** The VM is not this node's any more. Resolves once that lasts. */
  async forget(name: string): Promise<void> {
    this.#vms.delete(name);
    await this.#files.remove(name);
  }

  /** Nobody else gets that name while `adopt` is under way. Throws name-taken. */
  async adopting(name: string, adopt: () => Promise<void>): Promise<void> {
    this.refuseTaken(name, 'name-taken');
    this.#adopting.add(name);
    try {
      await adopt();
    } finally {
      this.#adopting.delete(name);
    }
  }

  /** Counts the memory of a VM, until that is dropped. Throws target-out-of-memory. */
  takeMemory(vm: HostedVm): void {
    this.refuseTooLarge(vm.definition);
    vm.memoryTaken = true;
  }

  /** Throws `code` where there can't be a new VM of that name, limit-exceeded where there can be none at all. */
  refuseTaken(name: string, code: 'name-taken' | 'target-has-guest'): void {
    const known = this.#vms.get(name);
    if (this.#adopting.has(name)) {
      throw new MigrationError(
        code,
        `a machine is just being adopted as ${name}: try again when that is done`,
      );
    }
    if (known) {
      const text = `node ${this.#node} has a VM named ${name} already (${known.status}): undefine or rename one of them`;
      throw new MigrationError(code, text);
    }
    this.#refuseOpen(name, code);
    if (this.#vms.size >= MAX_GUESTS) {
      throw new MigrationError(
        'limit-exceeded',
        `node ${this.#node} has ${MAX_GUESTS} VMs, which is the most it keeps`,
      );
    }
  }

  /** The next run of the agent would end whatever has that name, when it is told that the VM has moved. */
  #refuseOpen(name: string, code: 'name-taken' | 'target-has-guest'): void {
    const open = this.#journal
      .entries()
      .find(({ decision, vm }) => decision === 'commit-sent' && vm === name);
    if (!open) return;
    throw new MigrationError(
      code,
      `node ${this.#node} has not settled yet what became of VM ${name}, which migration ${open.migration} took to node ` +
        `${open.peer}: 'vmferry vm resolve ${name}' there says what can be done`,
    );
  }

  /** Throws target-out-of-memory. */
  refuseTooLarge({ name, memory }: GuestDefinition): void {
    const free = this.memoryFreeBytes;
    if (memory <= free) return;
    throw new MigrationError(
      'target-out-of-memory',
      `VM ${name} needs ${formatBytes(memory)} and node ${this.#node} has ${formatBytes(free)} left for guests ` +
        `(guestMemory is ${formatBytes(this.memoryLimitBytes)}): stop or move a VM there, or raise guestMemory`,
    );
  }
}
