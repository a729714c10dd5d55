import type { Logger } from 'pino';
import type { ConsoleChunk, ConsoleEnd, GuestInfo } from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import type { PreflightFinding } from '../../shared/protocol/messages.js';
import { formatBytes } from '../../shared/units.js';
import type { OwnershipJournal } from '../journal/ownership-journal.js';
import type { DefinitionFiles } from './definition-files.js';
import type { Guest, IncomingGuest } from './guest.js';
import type { GuestKind, GuestKinds, HostedGuest, KindHealth, MoveReport, Survivor } from './hosted-guest.js';
import { HostedVm } from './hosted-vm.js';

/** Guests that one node may have defined; bounds what clients and peers can make an agent keep. */
export const MAX_GUESTS = 1024;

/** What the store asks of the ownership journal. */
export type Decisions = Pick<OwnershipJournal, 'get' | 'entries'>;

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
  readonly #journal: Decisions;
  readonly #refuseArrivals: () => void;
  readonly #vms = new Map<string, HostedVm>();
  /** Writes of definitions under way, by name, one after the other. */
  readonly #saving = new Map<string, Promise<void>>();
  /** Names of machines that are being taken over. */
  readonly #adopting = new Set<string>();
  #closed = false;

  private constructor(options: GuestStoreOptions) {
    this.memoryLimitBytes = options.memoryLimitBytes;
    this.#node = options.node;
    this.#kinds = options.kinds;
    this.#files = options.files;
    this.#logger = options.logger;
    this.#journal = options.journal;
    this.#refuseArrivals = options.refuseArrivals ?? (() => undefined);
  }

  /** Reads the definitions and takes up the guests that outlived an earlier run of the agent. */
  static async open(options: GuestStoreOptions): Promise<GuestStore> {
    const store = new GuestStore(options);
    await options.files.settleArrivals(
      (migration) => options.journal.get(migration)?.decision === 'committed',
    );
    for (const { definition, image } of await options.files.load()) {
      store.#vms.set(definition.name, new HostedVm(definition, image));
    }
    for (const kind of Object.values(options.kinds)) {
      for (const survivor of (await kind.survivors?.((name) => store.#vms.get(name)?.definition)) ?? []) {
        await store.#takeUp(survivor);
      }
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
    await this.#kind(definition).check(definition, image);
    this.#refuseTaken(definition.name, 'name-taken');
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
      if (vm.guest || vm.stray) {
        throw new MigrationError('wrong-state', `VM ${name} is ${vm.status}: stop it before it is undefined`);
      }
      this.#vms.delete(name);
      await this.#remove(name);
    });
  }

  async start(name: string): Promise<void> {
    await this.#operate(name, async (vm) => {
      if (vm.guest) throw new MigrationError('wrong-state', `VM ${name} is ${vm.status} already`);
      if (vm.stray) throw new MigrationError('wrong-state', vm.stray.reason);
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

  /** Makes a machine that somebody else started a VM of this node. Throws name-taken, unsupported-guest. */
  async takeOver(name: string, socket: string): Promise<void> {
    this.#refuseTaken(name, 'name-taken');
    this.#adopting.add(name);
    try {
      const guest = await this.#kinds.qemu.adopt?.(name, socket);
      if (!guest)
        throw new MigrationError('unsupported-guest', 'machines of others can not be taken over here');
      try {
        const vm = new HostedVm(guest.definition, undefined);
        this.#takeMemory(vm);
        await this.#save(vm);
        vm.guest = this.#watch(name, guest);
        this.#vms.set(name, vm);
      } catch (error) {
        await guest.disown?.();
        throw error;
      }
    } finally {
      this.#adopting.delete(name);
    }
  }

  /** Ends the guest's execution; harmless when it is stopped. */
  async stop(name: string): Promise<void> {
    await this.#operate(name, async (vm) => {
      await vm.drop();
      // What was left of one that has moved was all that kept it here.
      if (vm.movedTo) await this.#forget(name);
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
    const vm = this.#vm(name);
    // For what runs, choices may have been made that its definition leaves open.
    const definition = vm.guest?.definition ?? vm.definition;
    return {
      definition,
      imageBytes: vm.image?.length ?? 0,
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

  /** What its kind says about moving the guest away. */
  async preflightOutgoing(name: string): Promise<MoveReport> {
    const vm = this.#vm(name);
    const guest = vm.started();
    const report = await this.#kind(vm.definition).preflightSource?.(guest);
    if (report) return report;
    const { kind, reason } = guest.writeLog;
    const message = `write-log ${kind}: ${reason}`;
    return { findings: [{ level: 'ok', code: 'write-log', message }], traits: {} };
  }

  /** How fit this host is for the kinds of guests that need something of it. */
  async doctor(): Promise<KindHealth> {
    const findings: PreflightFinding[] = [];
    let qemu: KindHealth['qemu'] = null;
    for (const kind of Object.values(this.#kinds)) {
      const health = await kind.doctor?.();
      if (!health) continue;
      findings.push(...health.findings);
      qemu ??= health.qemu;
    }
    return { findings, qemu };
  }

  /** The VM may be running at the target: nobody but the outcome of `migration` may touch it. */
  markUnknown(name: string, migration: string): void {
    const vm = this.#vms.get(name);
    if (!vm) return;
    vm.migration = migration;
    vm.hold = 'unknown';
  }

  /**
   * Takes the VM back, or forgets it where it has moved; tells whether that is done. What can't be cleared away here is
   * logged: it changes nothing about where the VM is. A machine that can't be ended keeps its VM here, as a stray.
   */
  async endOutgoing(name: string, movedTo: NodeAddress | null): Promise<boolean> {
    const vm = this.#vms.get(name);
    // Another one of that name may be here by now.
    if (vm?.migration === null) return true;
    if (vm && movedTo) vm.movedTo = movedTo;
    try {
      if (movedTo) {
        await vm?.drop();
        await this.#forget(name);
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

  async #forget(name: string): Promise<void> {
    this.#vms.delete(name);
    await this.#remove(name);
  }

  /** What its operator should know of it; null takes that back. */
  warn(name: string, trouble: string | null): void {
    const vm = this.#vms.get(name);
    if (vm) vm.trouble = trouble;
  }

  /** Lets a guest that was held for the outcome of a migration be again what its operator wanted. */
  async settle(name: string): Promise<void> {
    await this.#vms.get(name)?.guest?.settle();
  }

  // -- migrations to here

  /** What the kind of that guest says about its coming here; changes nothing. */
  async preflightIncoming(
    definition: GuestDefinition,
    traits: Record<string, string>,
  ): Promise<PreflightFinding[]> {
    return (await this.#kind(definition).preflightTarget?.(definition, traits)) ?? [];
  }

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
    attempt(() => this.#refuseArrivals());
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

  /** Creates the guest, paused and empty. Throws what checkIncoming returns, and guest-failed; so does its machine. */
  async createIncoming(
    definition: GuestDefinition,
    regions: readonly { name: string; bytes: number }[],
    migration: string,
  ): Promise<IncomingGuest> {
    const [reason] = this.checkIncoming(definition, regions);
    if (reason) throw reason;
    const vm = new HostedVm(definition, undefined);
    vm.migration = migration;
    vm.hold = 'incoming';
    this.#takeMemory(vm);
    this.#vms.set(vm.name, vm);
    try {
      // Before there is anything to commit: a disk that is full must not be found by the commit.
      await this.#queue(vm.name, () => this.#files.stage(migration, definition));
      const incoming = await this.#kind(definition).incoming(definition, migration);
      vm.incoming = incoming;
      const machine = incoming.machine.then((guest) => {
        // It may have been given up meanwhile.
        if (vm.incoming === incoming) vm.guest = this.#watch(vm.name, guest);
        return guest;
      });
      // Whoever asked for the guest hears of it.
      machine.catch(() => undefined);
      return { regions: incoming.regions, machine };
    } catch (error) {
      this.#vms.delete(vm.name);
      await this.#unstage(vm.name, migration).catch(() => undefined);
      throw error;
    }
  }

  /** The program image of a guest that is coming here, on disk ahead of its commit. */
  async stageImage(name: string, migration: string, image: Uint8Array): Promise<void> {
    const vm = this.#vm(name);
    await this.#queue(name, () => this.#files.stageImage(migration, name, image));
    vm.image = image;
  }

  /**
   * Whether a later run of the agent will know that the VM is this node's, once that is certain; also where it is no more. What could
   * not be saved before is tried again.
   */
  async kept(name: string): Promise<boolean> {
    const vm = this.#vms.get(name);
    if (!vm) return true;
    if (!(await vm.kept) && vm.keep) vm.kept = vm.keep();
    return await vm.kept;
  }

  /**
   * The guest is this node's own now. What a later run of the agent must know of that lies staged, and takes its place in the
   * background, since the guest is not to wait.
   */
  adopt(name: string): void {
    const vm = this.#vm(name);
    const { migration } = vm;
    vm.incoming = null;
    vm.migration = null;
    vm.hold = null;
    vm.keep = async () => {
      const promoted = this.#queue(name, () => this.#files.promote(migration!, name));
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

  /** Destroys an incoming guest that was not committed. */
  async discardIncoming(name: string, migration: string): Promise<void> {
    const vm = this.#vms.get(name);
    if (vm?.migration !== migration || vm.hold !== 'incoming') return;
    try {
      await vm.drop();
    } finally {
      this.#vms.delete(name);
      await this.#unstage(name, migration);
    }
  }

  /**
   * Lets go of guests that live on without the agent and ends the others, for the end of the agent. Returns the names of
   * those that were ended.
   */
  async close(): Promise<string[]> {
    this.#closed = true;
    const ended: string[] = [];
    const endings = [...this.#vms.values()].map((vm) =>
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
    await Promise.allSettled(this.#saving.values());
    return ended;
  }

  /**
   * A guest that an earlier run left behind. One that was coming here is this node's own if and only if the journal has its
   * commit; one whose commit was sent to another node stays as it is until the outcome is known.
   */
  async #takeUp(survivor: Survivor): Promise<void> {
    const journal = this.#journal;
    const { definition, incoming } = survivor;
    const { name } = definition;
    const logger = this.#logger.child({ vm: name });
    let vm = this.#vms.get(name);
    try {
      if (incoming !== null && journal.get(incoming)?.decision !== 'committed') {
        await survivor.destroy();
        logger.info({ migration: incoming }, 'what was left of a guest that did not come here is removed');
        return;
      }
      if (!vm) {
        vm = new HostedVm(definition, undefined);
        this.#vms.set(name, vm);
        await this.#save(vm);
      }
      vm.guest = this.#watch(name, await survivor.takeUp());
      vm.memoryTaken = true;
      if (incoming !== null) await vm.guest.own?.();
      const held = journal.entries().some((entry) => entry.decision === 'commit-sent' && entry.vm === name);
      if (!held) await vm.guest.settle();
      logger.info({ state: vm.guest.state, held }, 'VM taken up: it outlived the agent');
    } catch (error) {
      const { message } = toMigrationError(error);
      const reason =
        `VM ${name} is from before the agent started and could not be taken up: ${message}. Mend that and restart the ` +
        `agent, or end what there is of its machine with 'vmferry vm stop ${name}'`;
      logger.error({ err: error }, reason);
      if (!vm) return;
      if (incoming !== null) vm.kept = Promise.resolve(false);
      if (vm.guest) {
        vm.trouble = `an earlier run of the agent has left it ${vm.guest.state}: ${message}`;
        return;
      }
      vm.stray = { reason, destroy: () => survivor.destroy() };
      vm.memoryTaken = true;
    }
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
    // A kind is asked about its own definitions alone.
    return this.#kinds[definition.kind];
  }

  #refuseTaken(name: string, code: 'name-taken' | 'target-has-guest'): void {
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

  /** The image may just be on its way to the disk: it is not to come after. */
  #unstage(name: string, migration: string): Promise<void> {
    return this.#queue(name, () => this.#files.unstage(migration, name));
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
  journal: Decisions;
  /** Most memory of all guests together. */
  memoryLimitBytes: number;
  /** Throws why no guest may come here. */
  refuseArrivals?: () => void;
  logger: Logger;
}
