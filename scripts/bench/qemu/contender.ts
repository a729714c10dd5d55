import type { QemuDefinition } from '../../../shared/guest-definition.js';

/** One way to migrate a guest. */
export interface Contender {
  readonly name: string;
  /** Boots a guest of that definition; resolves once its console matches, with the guest paused. */
  boot(definition: QemuDefinition, ready: RegExp): Promise<Traveller>;
  close(): Promise<void>;
}

/** Where contenders put their files. */
export interface BenchPlace {
  readonly directory: string;
  /** For the RAM of their guests: a folder of a tmpfs. */
  readonly memoryDirectory: string;
}

/** A guest that goes there and back. It is paused between its moves, so that it does not disturb those of others. */
export interface Traveller {
  /** Lets it run for a moment, moves it, and pauses it where it is then. */
  migrate(): Promise<Move>;
  end(): Promise<void>;
}

/** Both by QEMU's events: STOP on the source, RESUME on the target. */
export interface Move {
  /** From the request until the guest runs on the target, the start of the target's QEMU included. ms */
  readonly totalMs: number;
  /** Of that, from when the target was ready. ms */
  readonly copyMs: number;
  /** From STOP to RESUME. ms */
  readonly downtimeMs: number;
}

/** Switchover no longer than this is asked of all contenders. ms */
export const DOWNTIME_LIMIT_MS = 30;

/** The guest runs this long before it is moved, so that its working set is in use. ms */
export const WORK_BEFORE_MS = 500;
