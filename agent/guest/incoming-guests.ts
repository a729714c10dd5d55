import type { Logger } from 'pino';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import type { PreflightFinding } from '../../shared/protocol/messages.js';
import { formatBytes } from '../../shared/units.js';
import type { DefinitionFiles } from './definition-files.js';
import type { IncomingGuest } from './guest.js';
import { type GuestKinds, kindOf } from './hosted-guest.js';
import { HostedVm } from './hosted-vm.js';
import { logChanges } from './log-changes.js';
import type { VmTable } from './vm-table.js';

export interface IncomingGuestsOptions {
  vms: VmTable;
  kinds: GuestKinds;
  files: DefinitionFiles;
  /** Throws why no guest may come here. */
  refuseArrivals: () => void;
  logger: Logger;
}

/** Names and sizes of a guest's regions. */
type RegionSizes = readonly { name: string; bytes: number }[];

/** The guests of one node as migrations to it have them, from what speaks against one to what is kept of it. */
export class IncomingGuests {
  readonly #vms: VmTable;
  readonly #kinds: GuestKinds;
  readonly #files: DefinitionFiles;
  readonly #refuseArrivals: () => void;
  readonly #logger: Logger;

  constructor({ vms, kinds, files, refuseArrivals, logger }: IncomingGuestsOptions) {
    this.#vms = vms;
    this.#kinds = kinds;
    this.#files = files;
    this.#refuseArrivals = refuseArrivals;
    this.#logger = logger;
  }

  /** Everything that speaks for or against a guest of that definition coming here; changes nothing. */
  async preflight(
    definition: GuestDefinition,
    regions: RegionSizes,
    traits: Record<string, string>,
  ): Promise<PreflightFinding[]> {
    const findings = [
      ...this.check(definition, regions).map(({ code, message }): PreflightFinding => ({
        level: 'refusal',
        code,
        message,
      })),
      ...((await kindOf(this.#kinds, definition).preflightTarget?.(definition, traits)) ?? []),
    ];
    if (findings.some(({ level }) => level === 'refusal')) return findings;
    const free = formatBytes(this.#vms.memoryFreeBytes);
    const message = `the target can take ${definition.name}: ${formatBytes(definition.memory)} of ${free} free for guests`;
    return [...findings, { level: 'ok', code: 'target-ready', message }];
  }

  /** Why a guest of that definition can't come here; empty if it can. */
  check(definition: GuestDefinition, regions: RegionSizes): MigrationError[] {
    const reasons: MigrationError[] = [];
    const attempt = (check: () => void) => {
      try {
        check();
      } catch (error) {
        reasons.push(toMigrationError(error));
      }
    };
    attempt(() => this.#refuseArrivals());
    attempt(() => this.#vms.refuseTaken(definition.name, 'target-has-guest'));
    attempt(() => {
      const expected = kindOf(this.#kinds, definition).regions(definition);
      if (JSON.stringify(expected) !== JSON.stringify(regions.map(({ name, bytes }) => ({ name, bytes })))) {
        throw new MigrationError(
          'unsupported-guest',
          `the memory of VM ${definition.name} is laid out as ${JSON.stringify(regions)}; here it would be ` +
            JSON.stringify(expected),
        );
      }
    });
    attempt(() => this.#vms.refuseTooLarge(definition));
    return reasons;
  }

  /** Creates the guest, paused and empty. Throws what check() returns, and guest-failed; so does its machine. */
  async create(definition: GuestDefinition, regions: RegionSizes, migration: string): Promise<IncomingGuest> {
    const [reason] = this.check(definition, regions);
    if (reason) throw reason;
    const vm = new HostedVm(definition, undefined);
    vm.migration = migration;
    vm.hold = 'incoming';
    this.#vms.takeMemory(vm);
    this.#vms.add(vm);
    try {
      // Before there is anything to commit: a disk that is full must not be found by the commit.
      await this.#files.stage(migration, definition);
      const incoming = await kindOf(this.#kinds, definition).incoming(definition, migration);
      vm.incoming = incoming;
      const machine = incoming.machine.then((guest) => {
        // It may have been given up meanwhile.
        if (vm.incoming === incoming) vm.guest = logChanges(vm.name, guest, this.#logger);
        return guest;
      });
      // Whoever asked for the guest hears of it.
      machine.catch(() => undefined);
      return { regions: incoming.regions, machine };
    } catch (error) {
      this.#vms.delete(vm.name);
      await this.#files.unstage(migration, vm.name).catch(() => undefined);
      throw error;
    }
  }

  /** The program image of a guest that is coming here, on disk ahead of its commit. */
  async stageImage(name: string, migration: string, image: Uint8Array): Promise<void> {
    const vm = this.#vms.get(name);
    await this.#files.stageImage(migration, name, image);
    vm.image = image;
  }

  /**
   * The guest is this node's own now. What a later run of the agent must know of that lies staged, and takes its place in the
   * background, since the guest is not to wait.
   */
  adopt(name: string): void {
    const vm = this.#vms.get(name);
    const { migration } = vm;
    vm.incoming = null;
    vm.migration = null;
    vm.hold = null;
    vm.keep = async () => {
      const promoted = this.#files.promote(migration!, name);
      try {
        await Promise.all([promoted, vm.guest?.own?.()]);
        vm.keep = null;
        return true;
      } catch (error) {
        const text = `what belongs to VM ${name}, which moved here, could not be saved yet: mend what the error names`;
        this.#logger.error({ vm: name, err: error }, text);
        return false;
      }
    };
    vm.kept = vm.keep();
  }

  /**
   * Whether a later run of the agent will know that the VM is this node's, once that is certain; also where it is no more. What could
   * not be saved before is tried again.
   */
  async kept(name: string): Promise<boolean> {
    const vm = this.#vms.find(name);
    if (!vm) return true;
    if (!(await vm.kept) && vm.keep) vm.kept = vm.keep();
    return await vm.kept;
  }

  /** Destroys an incoming guest that was not committed. */
  async discard(name: string, migration: string): Promise<void> {
    const vm = this.#vms.find(name);
    if (vm?.migration !== migration || vm.hold !== 'incoming') return;
    try {
      await vm.drop();
    } finally {
      this.#vms.delete(name);
      await this.#files.unstage(migration, name);
    }
  }
}
