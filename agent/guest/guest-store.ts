import type { Logger } from 'pino';
import type { ConsoleChunk, ConsoleEnd, GuestInfo, GuestStatus } from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import type { DefinitionFiles } from './definition-files.js';
import { followConsole } from './follow-console.js';
import type { Guest } from './guest.js';
import type { GuestKind, GuestKinds, HostedGuest } from './hosted-guest.js';
import { formatBytes } from '../../shared/units.js';

/** Guests that one node may have defined; bounds what clients and peers can make an agent keep. */
export const MAX_GUESTS = 1024;

interface GuestRecord {
  readonly definition: GuestDefinition;
  image: Uint8Array | undefined;
  guest: HostedGuest | null;
  /** Its memory is counted: it exists or is being made. */
  reserved: boolean;
  migration: string | null;
  /** Set while a migration decides what it is. */
  hold: 'incoming' | 'unknown' | null;
  /** Where it went; set when the record is about to be dropped, for those who follow its console. */
  movedTo: ConsoleEnd['to'];
  /** To be called when `guest` is dropped. */
  readonly onGone: Set<() => void>;
}

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
  readonly #records = new Map<string, GuestRecord>();
  readonly #discarding = new Set<Promise<void>>();
  /** Writes of definitions under way, by name, one after the other. */
  readonly #saving = new Map<string, Promise<void>>();

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
      store.#records.set(definition.name, newRecord(definition, image));
    }
    return store;
  }

  get memoryUsedBytes(): number {
    let bytes = 0;
    for (const record of this.#records.values()) if (record.reserved) bytes += record.definition.memory;
    return bytes;
  }

  list(): GuestInfo[] {
    return [...this.#records.values()]
      .map((record) => describe(record))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Throws not-found. */
  get(name: string): GuestInfo {
    return describe(this.#record(name));
  }

  async define(definition: GuestDefinition, image: Uint8Array | undefined): Promise<void> {
    this.#refuseTaken(definition.name, 'name-taken');
    this.#kind(definition).check(definition, image);
    const record = newRecord(definition, image);
    this.#records.set(definition.name, record);
    try {
      await this.#save(record);
    } catch (error) {
      this.#records.delete(definition.name);
      throw error;
    }
  }

  async undefine(name: string): Promise<void> {
    const record = this.#idle(name);
    if (record.guest || record.reserved) {
      throw new MigrationError(
        'wrong-state',
        `VM ${name} is ${statusOf(record)}: stop it before it is undefined`,
      );
    }
    this.#records.delete(name);
    await this.#remove(name);
  }

  async start(name: string): Promise<void> {
    const record = this.#idle(name);
    if (record.guest || record.reserved) {
      throw new MigrationError('wrong-state', `VM ${name} is ${statusOf(record)} already`);
    }
    this.#reserve(record);
    try {
      record.guest = this.#watch(
        name,
        await this.#kind(record.definition).boot(record.definition, record.image),
      );
      await record.guest.resume();
    } catch (error) {
      await this.#drop(record);
      throw error;
    }
  }

  /** Ends the guest's execution; harmless when it is stopped. */
  async stop(name: string): Promise<void> {
    await this.#drop(this.#idle(name));
  }

  async pause(name: string): Promise<void> {
    await this.#existing(name).pause();
  }

  async resume(name: string): Promise<void> {
    await this.#existing(name).resume();
  }

  async input(name: string, data: Uint8Array): Promise<void> {
    const { guest } = this.#record(name);
    if (!guest) throw notStarted(name);
    await guest.console.input(data);
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
    const record = this.#record(name);
    const { guest } = record;
    if (!guest) {
      if (follow) throw notStarted(name);
      return null;
    }
    const gone = () =>
      record.guest === guest
        ? null
        : { reason: record.movedTo ? ('moved' as const) : ('stopped' as const), to: record.movedTo };
    return yield* followConsole(guest, { position, follow, signal, gone, onGone: record.onGone });
  }

  // -- migrations from here

  /** Throws what speaks against migrating that guest now: not-found, wrong-state, duplicate-migration. */
  checkOutgoing(name: string): { definition: GuestDefinition } {
    const record = this.#record(name);
    if (record.migration !== null) {
      throw new MigrationError(
        'duplicate-migration',
        `VM ${name} is part of migration ${record.migration} already: wait for it or cancel it`,
      );
    }
    if (!record.guest) {
      throw new MigrationError(
        'wrong-state',
        `VM ${name} is ${statusOf(record)}: start it before it is migrated`,
      );
    }
    if (record.guest.failure) throw toMigrationError(record.guest.failure, 'guest-failed');
    return { definition: record.definition };
  }

  /** What a target needs to know of a guest to judge whether it can take it. */
  outline(name: string): {
    definition: GuestDefinition;
    imageBytes: number;
    regions: { name: string; bytes: number }[];
  } {
    const { definition, image } = this.#record(name);
    return {
      definition,
      imageBytes: image?.length ?? 0,
      regions: this.#kind(definition).regions(definition),
    };
  }

  /** Gives the guest to a migration: until endOutgoing its operator can't stop, pause or migrate it. */
  beginOutgoing(name: string, migration: string): void {
    this.checkOutgoing(name);
    this.#record(name).migration = migration;
  }

  /** The guest of a migration that has begun. */
  outgoing(name: string, migration: string): { guest: Guest; image: Uint8Array | undefined } {
    const { guest, image, migration: holder } = this.#record(name);
    if (!guest || holder !== migration) {
      throw new MigrationError('internal', `VM ${name} is not at the disposal of migration ${migration}`);
    }
    return { guest, image };
  }

  /** The guest is paused and may be running at the target: nobody but the migration's outcome may touch it. */
  markUnknown(name: string): void {
    this.#record(name).hold = 'unknown';
  }

  /** Takes the guest back, or forgets it where it has moved. */
  async endOutgoing(name: string, movedTo: NodeAddress | null): Promise<void> {
    const record = this.#record(name);
    record.migration = null;
    record.hold = null;
    if (movedTo === null) return;
    record.movedTo = movedTo;
    await this.#drop(record);
    this.#records.delete(name);
    await this.#remove(name);
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
    const record = newRecord(definition, undefined);
    record.migration = migration;
    record.hold = 'incoming';
    this.#reserve(record);
    this.#records.set(definition.name, record);
    try {
      const guest = await this.#kind(definition).incoming(definition);
      record.guest = this.#watch(definition.name, guest);
      return guest;
    } catch (error) {
      this.#records.delete(definition.name);
      throw error;
    }
  }

  /** The guest is this node's own now. Its definition is written in the background: the guest is not to wait. */
  adopt(name: string, image: Uint8Array | undefined): void {
    const record = this.#record(name);
    record.image = image;
    record.migration = null;
    record.hold = null;
    this.#save(record).catch((error: unknown) => {
      this.#logger.error(
        { vm: name, err: error },
        'the definition of a VM that moved here could not be saved',
      );
    });
  }

  /** Destroys an incoming guest that was not committed. */
  async discardIncoming(name: string, migration: string): Promise<void> {
    const record = this.#records.get(name);
    if (record?.migration !== migration || record.hold !== 'incoming') return;
    const discarding = this.#drop(record).finally(() => {
      this.#records.delete(name);
      this.#discarding.delete(discarding);
    });
    this.#discarding.add(discarding);
    await discarding;
  }

  /**
   * Waits until what discardIncoming has begun is done. A migration that is tried again at once must not be refused for
   * the remains of the attempt before.
   */
  async discarded(): Promise<void> {
    await Promise.allSettled(this.#discarding);
  }

  /** Ends all guests, for the end of the agent. Returns the names of those that were alive. */
  async close(): Promise<string[]> {
    const alive = [...this.#records.values()].filter((record) => record.guest);
    await Promise.allSettled(alive.map((record) => this.#drop(record)));
    await Promise.allSettled(this.#saving.values());
    return alive.map((record) => record.definition.name);
  }

  #record(name: string): GuestRecord {
    const record = this.#records.get(name);
    if (record) return record;
    throw new MigrationError(
      'not-found',
      `VM ${name} is not defined on node ${this.#node}: see 'vmferry vm list'`,
    );
  }

  /** A record that no migration holds. */
  #idle(name: string): GuestRecord {
    const record = this.#record(name);
    if (record.migration === null) return record;
    throw new MigrationError(
      'wrong-state',
      record.hold === 'unknown'
        ? `VM ${name} is paused because the outcome of migration ${record.migration} is not known yet`
        : `VM ${name} is part of migration ${record.migration}: wait for it or cancel it first`,
    );
  }

  #existing(name: string): HostedGuest {
    const { guest } = this.#idle(name);
    if (!guest) throw notStarted(name);
    return guest;
  }

  #kind(definition: GuestDefinition): GuestKind {
    return this.#kinds[definition.kind];
  }

  #refuseTaken(name: string, code: 'name-taken' | 'target-has-guest'): void {
    const known = this.#records.get(name);
    if (known) {
      const text = `node ${this.#node} has a VM named ${name} already (${statusOf(known)}): undefine or rename one of them`;
      throw new MigrationError(code, text);
    }
    if (this.#records.size >= MAX_GUESTS) {
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

  #reserve(record: GuestRecord): void {
    this.#refuseTooLarge(record.definition);
    record.reserved = true;
  }

  async #drop(record: GuestRecord): Promise<void> {
    const { guest } = record;
    record.guest = null;
    for (const notify of record.onGone) notify();
    await guest?.destroy();
    record.reserved = false;
  }

  #watch(name: string, guest: HostedGuest): HostedGuest {
    guest.onChange(() => {
      if (guest.failure) this.#logger.error({ vm: name, err: guest.failure }, 'the machine of a VM failed');
      else this.#logger.debug({ vm: name, state: guest.state }, 'VM state changed');
    });
    return guest;
  }

  #save(record: GuestRecord): Promise<void> {
    const { definition, image } = record;
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

function newRecord(definition: GuestDefinition, image: Uint8Array | undefined): GuestRecord {
  return {
    definition,
    image,
    guest: null,
    reserved: false,
    migration: null,
    hold: null,
    movedTo: null,
    onGone: new Set(),
  };
}

function statusOf({ hold, guest }: GuestRecord): GuestStatus {
  return hold ?? guest?.state ?? 'stopped';
}

function describe(record: GuestRecord): GuestInfo {
  const { definition, guest } = record;
  return {
    name: definition.name,
    kind: definition.kind,
    status: statusOf(record),
    memoryBytes: definition.memory,
    migration: record.migration,
    definition,
    writeLog: guest ? { kind: guest.writeLog.kind, reason: guest.writeLog.reason } : null,
    consoleBytes: guest?.console.end ?? 0,
    machine: guest?.figures() ?? {},
  };
}

function notStarted(name: string): MigrationError {
  return new MigrationError('wrong-state', `VM ${name} is not started: 'vmferry vm start ${name}'`);
}
