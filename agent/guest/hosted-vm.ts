import type { ConsoleChunk, ConsoleEnd, GuestInfo, GuestStatus } from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import { followConsole } from './follow-console.js';
import type { HostedGuest, IncomingHostedGuest } from './hosted-guest.js';

/** A machine that is not in the agent's hands. */
export interface Stray {
  readonly reason: string;
  destroy(): Promise<void>;
}

/**
 * One VM of a node: its definition, its guest while it exists, and who may touch it. What its operator asks for is done
 * in turn, so that a stop can't overtake a start; a migration takes the VM only while nothing of that is under way.
 */
export class HostedVm {
  readonly definition: GuestDefinition;
  image: Uint8Array | undefined;
  guest: HostedGuest | null = null;
  /** What a migration is bringing here; its machine becomes `guest` once it has started. */
  incoming: IncomingHostedGuest | null = null;
  /** A machine that can't be reached or ended: it may run, so no other may be started. */
  stray: Stray | null = null;
  /** Why the guest is not as its operator wanted it, where an earlier run of the agent left it. */
  trouble: string | null = null;
  /** Whether a later run of the agent will know that it came to this node, once that is certain. */
  kept: Promise<boolean> = Promise.resolve(true);
  /** Sees to that, as long as it is not done. */
  keep: (() => Promise<boolean>) | null = null;
  /** Its memory is counted: the guest exists, is being made or being ended. */
  memoryTaken = false;
  /** Id of the migration that it is part of. */
  migration: string | null = null;
  /** Set while a migration decides whose it is. */
  hold: 'incoming' | 'unknown' | null = null;
  /** Where it went, for those who follow its console. */
  movedTo: ConsoleEnd['to'] = null;
  /** To be called when `guest` is gone. */
  readonly onGone = new Set<() => void>();
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(definition: GuestDefinition, image: Uint8Array | undefined) {
    this.definition = definition;
    this.image = image;
  }

  get name(): string {
    return this.definition.name;
  }

  get status(): GuestStatus {
    return this.hold ?? this.guest?.state ?? (this.stray ? 'stray' : 'stopped');
  }

  /** Something that was asked for is not done yet. */
  get busy(): boolean {
    return this.#waiting > 0;
  }

  /** Runs `operation` after those that were asked for before it. Waits for it, and throws what it throws. */
  async inTurn(operation: () => Promise<void>): Promise<void> {
    this.#waiting += 1;
    const turn = this.#turn.then(operation);
    this.#turn = turn.catch(() => undefined);
    try {
      await turn;
    } finally {
      this.#waiting -= 1;
    }
  }

  /** Throws wrong-state while a migration has the VM. */
  refuseInMigration(): void {
    if (this.migration === null) return;
    throw new MigrationError(
      'wrong-state',
      this.hold === 'unknown'
        ? `VM ${this.name} must not run here: the outcome of migration ${this.migration} is not known yet`
        : `VM ${this.name} is part of migration ${this.migration}: wait for it or cancel it first`,
    );
  }

  /** The guest. Throws wrong-state if the VM is not started. */
  started(): HostedGuest {
    if (this.guest) return this.guest;
    throw new MigrationError(
      'wrong-state',
      `VM ${this.name} is not started: 'vmferry vm start ${this.name}'`,
    );
  }

  /** Ends the guest and frees its memory. Harmless when there is none. One that can't be ended becomes a stray. */
  async drop(): Promise<void> {
    const machine = this.incoming ?? this.guest ?? this.stray;
    this.incoming = null;
    this.guest = null;
    for (const notify of this.onGone) notify();
    try {
      await machine?.destroy();
    } catch (error) {
      const reason =
        `the machine of VM ${this.name} could not be ended: ${toMigrationError(error).message}; it may be running: ` +
        `mend that, then 'vmferry vm stop ${this.name}'`;
      this.stray = { reason, destroy: () => machine!.destroy() };
      throw error;
    }
    this.stray = null;
    this.trouble = null;
    this.memoryTaken = false;
  }

  /** Types into the console. Throws wrong-state where the guest would not be the one that reads it. */
  async input(data: Uint8Array): Promise<void> {
    const guest = this.started();
    if (this.hold !== null || (this.migration !== null && guest.state === 'paused')) {
      const text = `VM ${this.name} is being switched over by migration ${this.migration}: type again when it runs`;
      throw new MigrationError('wrong-state', text);
    }
    await guest.console.input(data);
  }

  /** Console output from `position` on; with `follow` until the guest stops or moves. */
  async *console(
    position: number,
    follow: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<ConsoleChunk, ConsoleEnd | null> {
    if (!this.guest && !follow) return null;
    const guest = this.started();
    const gone = (): ConsoleEnd | null => {
      if (this.guest === guest) return null;
      return this.movedTo ? { reason: 'moved', to: this.movedTo } : { reason: 'stopped', to: null };
    };
    return yield* followConsole(guest, { position, follow, signal, gone, onGone: this.onGone });
  }

  info(): GuestInfo {
    const { definition, guest } = this;
    return {
      name: definition.name,
      kind: definition.kind,
      status: this.status,
      memoryBytes: definition.memory,
      migration: this.migration,
      failure: guest?.failure?.message ?? this.stray?.reason ?? this.trouble,
      definition,
      writeLog: guest ? { kind: guest.writeLog.kind, reason: guest.writeLog.reason } : null,
      consoleBytes: guest?.console.end ?? 0,
      machine: guest?.figures() ?? {},
    };
  }
}
