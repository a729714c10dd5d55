import type { NodeFacts } from '../../shared/api/doctor.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import type { PreflightFinding } from '../../shared/protocol/messages.js';
import type { Guest, IncomingGuest } from './guest.js';

/** What a guest has printed, by position: byte n of all that it ever printed, on whichever node. */
export interface GuestConsole {
  /** Position of the oldest byte that is kept. */
  readonly start: number;
  /** Position after the newest byte. */
  readonly end: number;
  /** What is kept from `position` on; start <= position <= end. */
  read(position: number): Uint8Array;
  /** Calls `listener` when `end` has grown; returns how to stop that. */
  onOutput(listener: () => void): () => void;
  /** Types `data`. Throws limit-exceeded if the guest does not read its input. */
  input(data: Uint8Array): Promise<void>;
}

/** A guest as its node hosts it: what can be migrated, with what its operator sees of it. */
export interface HostedGuest extends Guest {
  readonly console: GuestConsole;
  /** Figures of the kind, for `vm show`. */
  figures(): Record<string, number | string | null>;
  /** Remembers durably that an incoming guest is the node's own. Absent where a guest ends with the agent. */
  own?(): Promise<void>;
  /** Lets go of a guest that lives on without the agent. Absent where it can't. */
  detach?(): Promise<void>;
  /** Gives a machine back that was adopted: it lives on, and no run of the agent will take it up. */
  disown?(): Promise<void>;
}

/** An incoming guest as its node hosts it. */
export interface IncomingHostedGuest extends IncomingGuest<HostedGuest> {
  /** Ends it, how ever far it has come, and frees all that it holds. Harmless when repeated. */
  destroy(): Promise<void>;
}

/** A guest that an earlier run of the agent has left behind. */
export interface Survivor {
  readonly definition: GuestDefinition;
  /** The migration that was bringing it here; null for one of the node's own. */
  readonly incoming: string | null;
  /** The guest, as it is; settle() makes it what its operator wanted. */
  takeUp(): Promise<HostedGuest>;
  /** Ends it and frees all that it holds. */
  destroy(): Promise<void>;
}

/** What a kind says about moving one of its guests. */
export interface MoveReport {
  readonly findings: PreflightFinding[];
  /** What the target must know beside the definition. */
  readonly traits: Record<string, string>;
}

/** One kind of guest: how to bring it to life. */
export interface GuestKind<Definition extends GuestDefinition = GuestDefinition> {
  /** Throws invalid-image or invalid-definition, with the field where it is one's, if a guest can't be made of that here. */
  check(definition: Definition, image: Uint8Array | undefined): void | Promise<void>;
  /** A guest that boots, paused. Throws invalid-image, target-out-of-memory, guest-failed. */
  boot(definition: Definition, image: Uint8Array | undefined): Promise<HostedGuest>;
  /**
   * A paused guest with empty memory that `migration` fills. Throws target-out-of-memory, guest-failed; so does its
   * machine.
   */
  incoming(definition: Definition, migration: string): Promise<IncomingHostedGuest>;
  /** Names and sizes of the regions that a guest of that definition has. */
  regions(definition: Definition): { name: string; bytes: number }[];
  /**
   * Guests that outlived the agent; remains of those that did not are removed. Absent where guests end with it. `definitionOf`: what the
   * node has of a VM, for one that can't be told by what it left.
   */
  survivors?(definitionOf: (vm: string) => GuestDefinition | undefined): Promise<Survivor[]>;
  /** What speaks for or against moving that guest away. */
  preflightSource?(guest: HostedGuest): Promise<MoveReport>;
  /** What speaks for or against a guest of that definition and those traits coming here; changes nothing. */
  preflightTarget?(definition: Definition, traits: Record<string, string>): Promise<PreflightFinding[]>;
  /** Takes up a running machine by its control socket. Throws unsupported-guest, saying why, where that can't be. */
  adopt?(name: string, socket: string): Promise<HostedGuest>;
  /** How fit this host is for guests of the kind. */
  doctor?(): Promise<KindHealth>;
}

export interface KindHealth {
  readonly findings: PreflightFinding[];
  /** What is compared between nodes; null where nothing executes such guests here. */
  readonly qemu: NodeFacts['qemu'];
}

export type GuestKinds = {
  readonly [K in GuestDefinition['kind']]: GuestKind<Extract<GuestDefinition, { kind: K }>>;
};

export function kindOf(kinds: GuestKinds, definition: GuestDefinition): GuestKind {
  // A kind is asked about its own definitions alone.
  return kinds[definition.kind];
}
