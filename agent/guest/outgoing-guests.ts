import type { Logger } from 'pino';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import type { NodeAddress } from '../node-address.js';
import type { Guest } from './guest.js';
import { type GuestKinds, kindOf, type MoveReport } from './hosted-guest.js';
import type { VmTable } from './vm-table.js';

export interface OutgoingGuestsOptions {
  vms: VmTable;
  kinds: GuestKinds;
  logger: Logger;
}

/** The guests of one node as migrations away from it have them. */
export class OutgoingGuests {
  readonly #vms: VmTable;
  readonly #kinds: GuestKinds;
  readonly #logger: Logger;

  constructor({ vms, kinds, logger }: OutgoingGuestsOptions) {
    this.#vms = vms;
    this.#kinds = kinds;
    this.#logger = logger;
  }

  /** Throws what speaks against migrating that guest now: not-found, wrong-state, duplicate-migration. */
  check(name: string): { definition: GuestDefinition } {
    const vm = this.#vms.get(name);
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
    const vm = this.#vms.get(name);
    // For what runs, choices may have been made that its definition leaves open.
    const definition = vm.guest?.definition ?? vm.definition;
    return {
      definition,
      imageBytes: vm.image?.length ?? 0,
      regions: kindOf(this.#kinds, definition).regions(definition),
    };
  }

  /** What its kind says about moving the guest away. */
  async preflight(name: string): Promise<MoveReport> {
    const vm = this.#vms.get(name);
    const guest = vm.started();
    const report = await kindOf(this.#kinds, vm.definition).preflightSource?.(guest);
    if (report) return report;
    const { kind, reason } = guest.writeLog;
    const message = `write-log ${kind}: ${reason}`;
    return { findings: [{ level: 'ok', code: 'write-log', message }], traits: {} };
  }

  /** Gives the guest to a migration: until end() its operator can't stop, pause or migrate it. */
  begin(name: string, migration: string): void {
    this.check(name);
    this.#vms.get(name).migration = migration;
  }

  /** The guest of a migration that has begun. */
  guestOf(name: string, migration: string): { guest: Guest; image: Uint8Array | undefined } {
    const { guest, image, migration: holder } = this.#vms.get(name);
    if (!guest || holder !== migration) {
      throw new MigrationError('internal', `VM ${name} is not at the disposal of migration ${migration}`);
    }
    return { guest, image };
  }

  /** The VM may be running at the target: nobody but the outcome of `migration` may touch it. */
  markUnknown(name: string, migration: string): void {
    const vm = this.#vms.find(name);
    if (!vm) return;
    vm.migration = migration;
    vm.hold = 'unknown';
  }

  /** The outcome is known: the VM stays here, and is about to be what its operator wanted. Its migration has it until end(). */
  markOwn(name: string): void {
    const vm = this.#vms.find(name);
    if (vm) vm.hold = null;
  }

  /**
   * Takes the VM back, or forgets it where it has moved; tells whether that is done. What can't be cleared away here is
   * logged: it changes nothing about where the VM is. A machine that can't be ended keeps its VM here, as a stray.
   */
  async end(name: string, movedTo: NodeAddress | null): Promise<boolean> {
    const vm = this.#vms.find(name);
    // Another one of that name may be here by now.
    if (vm?.migration === null) return true;
    if (vm && movedTo) vm.movedTo = movedTo;
    try {
      if (movedTo) {
        await vm?.drop();
        await this.#vms.forget(name);
      }
      return true;
    } catch (error) {
      this.#logger.error(
        { vm: name, err: error },
        `VM ${name} runs on node ${movedTo?.node}, but what was left of it here could not be removed: do not start it here`,
      );
      return false;
    } finally {
      if (vm) {
        vm.migration = null;
        vm.hold = null;
      }
    }
  }

  /** What its operator should know of it; null takes that back. */
  warn(name: string, trouble: string | null): void {
    const vm = this.#vms.find(name);
    if (vm) vm.trouble = trouble;
  }

  /** Lets a guest that was held for the outcome of a migration be again what its operator wanted. */
  async settle(name: string): Promise<void> {
    await this.#vms.find(name)?.guest?.settle();
  }
}
