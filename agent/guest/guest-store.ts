import type { Logger } from 'pino';
import type { ConsoleChunk, ConsoleEnd, GuestInfo } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import type { DefinitionFiles } from './definition-files.js';
import { type GuestKinds, kindOf } from './hosted-guest.js';
import { HostedVm } from './hosted-vm.js';
import { logChanges } from './log-changes.js';
import type { VmTable } from './vm-table.js';

export interface GuestStoreOptions {
  node: string;
  vms: VmTable;
  kinds: GuestKinds;
  files: DefinitionFiles;
  logger: Logger;
}

/** The guests of one node as operators have them: defined, started, stopped, looked at. */
export class GuestStore {
  readonly #node: string;
  readonly #vms: VmTable;
  readonly #kinds: GuestKinds;
  readonly #files: DefinitionFiles;
  readonly #logger: Logger;
  #closed = false;

  constructor({ node, vms, kinds, files, logger }: GuestStoreOptions) {
    this.#node = node;
    this.#vms = vms;
    this.#kinds = kinds;
    this.#files = files;
    this.#logger = logger;
  }

  list(): GuestInfo[] {
    return this.#vms
      .all()
      .map((vm) => vm.info())
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Throws not-found. */
  get(name: string): GuestInfo {
    return this.#vms.get(name).info();
  }

  async define(definition: GuestDefinition, image: Uint8Array | undefined): Promise<void> {
    await kindOf(this.#kinds, definition).check(definition, image);
    this.#vms.refuseTaken(definition.name, 'name-taken');
    const vm = new HostedVm(definition, image);
    this.#vms.add(vm);
    await vm.inTurn(async () => {
      try {
        await this.#vms.save(vm);
      } catch (error) {
        this.#vms.delete(vm.name);
        throw error;
      }
    });
  }

  async undefine(name: string): Promise<void> {
    await this.#operate(name, async (vm) => {
      if (vm.guest || vm.stray) {
        throw new MigrationError('wrong-state', `VM ${name} is ${vm.status}: stop it before it is undefined`);
      }
      await this.#vms.forget(name);
    });
  }

  async start(name: string): Promise<void> {
    await this.#operate(name, async (vm) => {
      if (vm.guest) {
        const text =
          vm.status === 'finished' ? `finished: run 'vmferry vm stop ${name}' first` : `${vm.status} already`;
        throw new MigrationError('wrong-state', `VM ${name} is ${text}`);
      }
      if (vm.stray) throw new MigrationError('wrong-state', vm.stray.reason);
      if (this.#closed) throw new MigrationError('shutting-down', `node ${this.#node} is shutting down`);
      this.#vms.takeMemory(vm);
      try {
        const guest = await kindOf(this.#kinds, vm.definition).boot(vm.definition, vm.image);
        vm.guest = logChanges(name, guest, this.#logger);
        await vm.guest.resume();
      } catch (error) {
        await vm.drop();
        throw error;
      }
    });
  }

  /** Makes a machine that somebody else started a VM of this node. Throws name-taken, unsupported-guest. */
  async takeOver(name: string, socket: string): Promise<void> {
    await this.#vms.adopting(name, async () => {
      const guest = await this.#kinds.qemu.adopt?.(name, socket);
      if (!guest)
        throw new MigrationError('unsupported-guest', 'machines of others can not be taken over here');
      try {
        const vm = new HostedVm(guest.definition, undefined);
        this.#vms.takeMemory(vm);
        await this.#vms.save(vm);
        vm.guest = logChanges(name, guest, this.#logger);
        this.#vms.add(vm);
      } catch (error) {
        await guest.disown?.();
        throw error;
      }
    });
  }

  /** Ends the guest's execution; harmless when it is stopped. */
  async stop(name: string): Promise<void> {
    await this.#operate(name, async (vm) => {
      await vm.drop();
      // What was left of one that has moved was all that kept it here.
      if (vm.movedTo) await this.#vms.forget(name);
    });
  }

  async pause(name: string): Promise<void> {
    await this.#operate(name, (vm) => vm.started().pause());
  }

  async resume(name: string): Promise<void> {
    await this.#operate(name, async (vm) => {
      await vm.started().resume();
      vm.trouble = null;
    });
  }

  async input(name: string, data: Uint8Array): Promise<void> {
    await this.#vms.get(name).input(data);
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
    return yield* this.#vms.get(name).console(position, follow, signal);
  }

  /**
   * Lets go of guests that live on without the agent and ends the others, for the end of the agent. Returns the names of
   * those that were ended.
   */
  async close(): Promise<string[]> {
    this.#closed = true;
    const ended: string[] = [];
    const endings = this.#vms.all().map((vm) =>
      vm.inTurn(async () => {
        if (!vm.guest) return;
        if (vm.guest.detach) {
          // Followers of its console are not told that it has stopped: they come again.
          await vm.guest.detach();
          return;
        }
        ended.push(vm.name);
        await vm.drop();
      }),
    );
    await Promise.allSettled(endings);
    await this.#files.settled();
    return ended;
  }

  /** Does what the operator of a VM asks for, in turn; refused while a migration has it. */
  async #operate(name: string, operation: (vm: HostedVm) => Promise<void>): Promise<void> {
    const vm = this.#vms.get(name);
    vm.refuseInMigration();
    await vm.inTurn(async () => {
      // It may be another VM of that name by now, or none.
      if (this.#vms.get(name) !== vm)
        throw new MigrationError('not-found', `VM ${name} was undefined meanwhile`);
      vm.refuseInMigration();
      await operation(vm);
    });
  }
}
