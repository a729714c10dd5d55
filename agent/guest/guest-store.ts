import type { Logger } from 'pino';
import type { ConsoleChunk, ConsoleEnd, GuestInfo } from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import { formatBytes } from '../../shared/units.js';
import type { DefinitionFiles } from './definition-files.js';
import type { Guest } from './guest.js';
import type { GuestKind, GuestKinds, HostedGuest } from './hosted-guest.js';
import { HostedVm } from './hosted-vm.js';

/** Guests that one node may have defined; bounds what clients and peers can make an agent keep. */
export const MAX_GUESTS = 1024;

/** Where a node's guests go on: another node and its agent. */
export interface NodeAddress {
  node: string;
  url: string;
}

/** The guests of one node: their definitions, those that exist, and what migrations do with them. */
export class GuestStore {
  readonly memoryLimitBytes: number;
  readonly #node: string;
  readonly #kinds: GuestKinds;
  readonly #files: DefinitionFiles;
  readonly #logger: Logger;
  readonly #vms = new Map<string, HostedVm>();
  /** Writes of definitions under way, by name, one after the other. */
  readonly #saving = new Map<string, Promise<void>>();
  #closed = false;

  private constructor(options: GuestStoreOptions) {
    this.memoryLimitBytes = options.memoryLimitBytes;
    this.#node = options.node;
    this.#kinds = options.kinds;
    this.#files = options.files;
    this.#logger = options.logger;
  }

  static async open(options: GuestStoreOptions): Promise<GuestStore> {
    const store = new GuestStore(options);
    for (const { definition, image } of await options.files.load()) {
      store.#vms.set(definition.name, new HostedVm(definition, image));
    }
    return store;
  }

  get memoryUsedBytes(): number {
    let bytes = 0;
    for (const vm of this.#vms.values()) if (vm.memoryTaken) bytes += vm.definition.memory;
    return bytes;
  }

  list(): GuestInfo[] {
    return [...this.#vms.values()].map((vm) => vm.info()).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Throws not-found. */
  get(name: string): GuestInfo {
    return this.#vm(name).info();
  }

  async define(definition: GuestDefinition, image: Uint8Array | undefined): Promise<void> {
    this.#refuseTaken(definition.name, 'name-taken');
    this.#kind(definition).check(definition, image);
    const vm = new HostedVm(definition, image);
    this.#vms.set(vm.name, vm);
    await vm.inTurn(async () => {
      try {
        await this.#save(vm);
      } catch (error) {
        this.#vms.delete(vm.name);
        throw error;
      }
    });
  }

  async undefine(name: string): Promise<void> {
    await this.#operate(name, async (vm) => {
      if (vm.guest) {
        throw new MigrationError('wrong-state', `VM ${name} is ${vm.status}: stop it before it is undefined`);
      }
      this.#vms.delete(name);
      await this.#remove(name);
    });
  }

  async start(name: string): Promise<void> {
    await this.#operate(name, async (vm) => {
      if (vm.guest) throw new MigrationError('wrong-state', `VM ${name} is ${vm.status} already`);
      if (this.#closed) throw new MigrationError('shutting-down', `node ${this.#node} is shutting down`);
      this.#takeMemory(vm);
      try {
        vm.guest = this.#watch(name, await this.#kind(vm.definition).boot(vm.definition, vm.image));
        await vm.guest.resume();
      } catch (error) {
        await vm.drop();
        throw error;
      }
    });
  }

  /** Ends the guest's execution; harmless when it is stopped. */
  async stop(name: string): Promise<void> {
    await this.#operate(name, (vm) => vm.drop());
  }

  async pause(name: string): Promise<void> {
    await this.#operate(name, (vm) => vm.started().pause());
  }

  async resume(name: string): Promise<void> {
    await this.#operate(name, (vm) => vm.started().resume());
  }

  async input(name: string, data: Uint8Array): Promise<void> {
    await this.#vm(name).input(data);
  }

  /**
   * Console output from `position` on; with `follow` until the guest stops or moves. Ends with null where it is
   * not followed.
   */
  async *console(
    name: string,
    position: number,
    follow: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<ConsoleChunk, ConsoleEnd | null> {
    return yield* this.#vm(name).console(position, follow, signal);
  }

  // -- migrations from here

  /** Throws what speaks against migrating that guest now: not-found, wrong-state, duplicate-migration. */
  checkOutgoing(name: string): { definition: GuestDefinition } {
    const vm = this.#vm(name);
    if (vm.migration !== null) {
      throw new MigrationError(
        'duplicate-migration',
        `VM ${name} is part of migration ${vm.migration} already: wait for it or cancel it`,
      );
    }
    if (vm.busy) {
      const text = `VM ${name} is just being started, stopped, paused or resumed: try again when that is done`;
      throw new MigrationError('wrong-state', text);
    }
    if (!vm.guest) {
      throw new MigrationError('wrong-state', `VM ${name} is ${vm.status}: start it before it is migrated`);
    }
    if (vm.guest.failure) throw toMigrationError(vm.guest.failure, 'guest-failed');
    return { definition: vm.definition };
  }

  /** What a target needs to know of a guest to judge whether it can take it. */
  outline(name: string): {
    definition: GuestDefinition;
    imageBytes: number;
    regions: { name: string; bytes: number }[];
  } {
    const { definition, image } = this.#vm(name);
    return {
      definition,
      imageBytes: image?.length ?? 0,
      regions: this.#kind(definition).regions(definition),
    };
  }

  /** Gives the guest to a migration: until endOutgoing its operator can't stop, pause or migrate it. */
  beginOutgoing(name: string, migration: string): void {
    this.checkOutgoing(name);
    this.#vm(name).migration = migration;
  }

  /** The guest of a migration that has begun. */
  outgoing(name: string, migration: string): { guest: Guest; image: Uint8Array | undefined } {
    const { guest, image, migration: holder } = this.#vm(name);
    if (!guest || holder !== migration) {
      throw new MigrationError('internal', `VM ${name} is not at the disposal of migration ${migration}`);
    }
    return { guest, image };
  }

  /** The VM may be running at the target: nobody but the outcome of `migration` may touch it. */
  markUnknown(name: string, migration: string): void {
    const vm = this.#vms.get(name);
    if (!vm) return;
    vm.migration = migration;
    vm.hold = 'unknown';
  }

  /**
   * Takes the VM back, or forgets it where it has moved. What can't be cleared away here is logged: it changes nothing
   * about where the VM is.
   */
  async endOutgoing(name: string, movedTo: NodeAddress | null): Promise<void> {
    const vm = this.#vms.get(name);
    if (!vm) return;
    vm.migration = null;
    vm.hold = null;
    if (movedTo === null) return;
    vm.movedTo = movedTo;
    this.#vms.delete(name);
    try {
      await vm.drop();
      await this.#remove(name);
    } catch (error) {
      this.#logger.error(
        { vm: name, err: error },
        `VM ${name} runs on node ${movedTo.node}, but what was left of it here could not be removed: do not start it here`,
      );
    }
  }

  // -- migrations to here

  /** Why a guest of that definition can't come here; empty if it can. */
  checkIncoming(
    definition: GuestDefinition,
    regions: readonly { name: string; bytes: number }[],
  ): MigrationError[] {
    const reasons: MigrationError[] = [];
    const attempt = (check: () => void) => {
      try {
        check();
      } catch (error) {
        reasons.push(toMigrationError(error));
      }
    };
    attempt(() => this.#refuseTaken(definition.name, 'target-has-guest'));
    attempt(() => {
      const expected = this.#kind(definition).regions(definition);
      if (JSON.stringify(expected) !== JSON.stringify(regions.map(({ name, bytes }) => ({ name, bytes })))) {
        throw new MigrationError(
          'unsupported-guest',
          `the memory of VM ${definition.name} is laid out as ${JSON.stringify(regions)}; here it would be ` +
            JSON.stringify(expected),
        );
      }
    });
    attempt(() => this.#refuseTooLarge(definition));
    return reasons;
  }

  /** Creates the guest, paused and empty. Throws what checkIncoming returns, and guest-failed. */
  async createIncoming(
    definition: GuestDefinition,
    regions: readonly { name: string; bytes: number }[],
    migration: string,
  ): Promise<Guest> {
    const [reason] = this.checkIncoming(definition, regions);
    if (reason) throw reason;
    const vm = new HostedVm(definition, undefined);
    vm.migration = migration;
    vm.hold = 'incoming';
    this.#takeMemory(vm);
    this.#vms.set(vm.name, vm);
    try {
      const guest = await this.#kind(definition).incoming(definition);
      vm.guest = this.#watch(vm.name, guest);
      return guest;
    } catch (error) {
      this.#vms.delete(vm.name);
      throw error;
    }
  }

  /** The guest is this node's own now. Its definition is written in the background: the guest is not to wait. */
  adopt(name: string, image: Uint8Array | undefined): void {
    const vm = this.#vm(name);
    vm.image = image;
    vm.migration = null;
    vm.hold = null;
    this.#save(vm).catch((error: unknown) => {
      this.#logger.error(
        { vm: name, err: error },
        'the definition of a VM that moved here could not be saved',
      );
    });
  }

  /** Destroys an incoming guest that was not committed. */
  async discardIncoming(name: string, migration: string): Promise<void> {
    const vm = this.#vms.get(name);
    if (vm?.migration !== migration || vm.hold !== 'incoming') return;
    await vm.drop().finally(() => this.#vms.delete(name));
  }

  /** Ends all guests, for the end of the agent. Returns the names of those that were alive. */
  async close(): Promise<string[]> {
    this.#closed = true;
    const alive: string[] = [];
    const endings = [...this.#vms.values()].map((vm) =>
      vm.inTurn(async () => {
        if (vm.guest) alive.push(vm.name);
        await vm.drop();
      }),
    );
    await Promise.allSettled(endings);
    await Promise.allSettled(this.#saving.values());
    return alive;
  }

  #vm(name: string): HostedVm {
    const vm = this.#vms.get(name);
    if (vm) return vm;
    throw new MigrationError(
      'not-found',
      `VM ${name} is not defined on node ${this.#node}: see 'vmferry vm list'`,
    );
  }

  /** Does what the operator of a VM asks for, in turn; refused while a migration has it. */
  async #operate(name: string, operation: (vm: HostedVm) => Promise<void>): Promise<void> {
    const vm = this.#vm(name);
    vm.refuseInMigration();
    await vm.inTurn(async () => {
      // It may be another VM of that name by now, or none.
      if (this.#vm(name) !== vm) throw new MigrationError('not-found', `VM ${name} was undefined meanwhile`);
      vm.refuseInMigration();
      await operation(vm);
    });
  }

  #kind(definition: GuestDefinition): GuestKind {
    return this.#kinds[definition.kind];
  }

  #refuseTaken(name: string, code: 'name-taken' | 'target-has-guest'): void {
    const known = this.#vms.get(name);
    if (known) {
      const text = `node ${this.#node} has a VM named ${name} already (${known.status}): undefine or rename one of them`;
      throw new MigrationError(code, text);
    }
    if (this.#vms.size >= MAX_GUESTS) {
      throw new MigrationError(
        'limit-exceeded',
        `node ${this.#node} has ${MAX_GUESTS} VMs, which is the most it keeps`,
      );
    }
  }

  #refuseTooLarge({ name, memory }: GuestDefinition): void {
    const free = this.memoryLimitBytes - this.memoryUsedBytes;
    if (memory <= free) return;
    throw new MigrationError(
      'target-out-of-memory',
      `VM ${name} needs ${formatBytes(memory)} and node ${this.#node} has ${formatBytes(free)} left for guests ` +
        `(guestMemory is ${formatBytes(this.memoryLimitBytes)}): stop or move a VM there, or raise guestMemory`,
    );
  }

  #takeMemory(vm: HostedVm): void {
    this.#refuseTooLarge(vm.definition);
    vm.memoryTaken = true;
  }

  #watch(name: string, guest: HostedGuest): HostedGuest {
    guest.onChange(() => {
      if (guest.failure) this.#logger.error({ vm: name, err: guest.failure }, 'the machine of a VM failed');
      else this.#logger.debug({ vm: name, state: guest.state }, 'VM state changed');
    });
    return guest;
  }

  #save({ definition, image }: HostedVm): Promise<void> {
    return this.#queue(definition.name, () => this.#files.save({ definition, image }));
  }

  #remove(name: string): Promise<void> {
    return this.#queue(name, () => this.#files.remove(name));
  }

  /** File operations of one name follow each other, so that a removal can't be overtaken by a save. */
  #queue(name: string, operation: () => Promise<void>): Promise<void> {
    const next = (this.#saving.get(name) ?? Promise.resolve()).catch(() => undefined).then(operation);
    this.#saving.set(name, next);
    const forget = () => {
      if (this.#saving.get(name) === next) this.#saving.delete(name);
    };
    next.then(forget, forget);
    return next;
  }
}

export interface GuestStoreOptions {
  node: string;
  kinds: GuestKinds;
  files: DefinitionFiles;
  /** Most memory of all guests together. */
  memoryLimitBytes: number;
  logger: Logger;
}
