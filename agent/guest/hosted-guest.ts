import type { GuestDefinition } from '../../shared/guest-definition.js';
import type { Guest } from './guest.js';

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
  figures(): Record<string, number | null>;
  /** Calls `listener` when `state` has changed by itself (powered off, stopped at its instruction, failed). */
  onChange(listener: () => void): () => void;
  /** Why the guest can't go on: its machine failed. Null while it is well. */
  readonly failure: Error | null;
}

/** One kind of guest: how to bring it to life. */
export interface GuestKind {
  /** Throws invalid-image or invalid-definition if a guest can't be made of that. */
  check(definition: GuestDefinition, image: Uint8Array | undefined): void;
  /** A guest that boots, paused. Throws invalid-image, target-out-of-memory, guest-failed. */
  boot(definition: GuestDefinition, image: Uint8Array | undefined): Promise<HostedGuest>;
  /** A paused guest with empty memory that a migration fills. Throws target-out-of-memory, guest-failed. */
  incoming(definition: GuestDefinition): Promise<HostedGuest>;
  /** Names and sizes of the regions that a guest of that definition has. */
  regions(definition: GuestDefinition): { name: string; bytes: number }[];
}

export type GuestKinds = { readonly [K in GuestDefinition['kind']]: GuestKind };
