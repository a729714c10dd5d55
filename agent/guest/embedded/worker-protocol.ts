import type { ErrorCode } from '../../../shared/errors.js';

/** What the agent's thread and the machine's worker thread share and say to each other. */

/** Indices of `control`, an Int32Array. */
export const CONTROL = {
  /** Changes whenever the worker has to look at its messages; it sleeps on it. */
  wake: 0,
  length: 2,
} as const;

/** Indices of `counters`, a BigInt64Array that is read and written with Atomics. */
export const COUNTERS = {
  /** Retired instructions, as of the last safepoint; written by the worker. */
  retired: 0,
  /** Console position up to which the agent has taken the output; written by the agent. */
  consoleTaken: 1,
  length: 2,
} as const;

export interface WorkerData {
  ram: SharedArrayBuffer;
  /** The two write maps, one after the other, each a byte per page, `mapBytes` long. */
  writeMaps: SharedArrayBuffer;
  mapBytes: number;
  control: SharedArrayBuffer;
  counters: SharedArrayBuffer;
  /** Count of retired instructions at which the machine stops, or null. */
  stopAt: number | null;
  /** Address of the first instruction. */
  entry: number;
}

export type Command =
  | { type: 'pause' }
  | { type: 'resume' }
  | { type: 'start-log' }
  | { type: 'stop-log' }
  /** Swaps the write maps. */
  | { type: 'harvest' }
  | { type: 'input'; data: Uint8Array }
  | { type: 'save' }
  | { type: 'load'; state: Uint8Array }
  | { type: 'registers' };

export type Request = Command & { id: number };

export type MachineCondition = {
  running: boolean;
  /** -1 unless the machine has powered itself off. */
  exitCode: number;
};

/** The registers of a machine that does not run, unsigned. */
export interface Registers {
  pc: number;
  /** x0 to x31. */
  x: number[];
}

export interface Answer {
  condition: MachineCondition;
  /** The map that harvest has taken out of use: 0 or 1. */
  map?: number;
  state?: Uint8Array;
  registers?: Registers;
  /** The output that came with a loaded state. */
  console?: { end: number; tail: Uint8Array };
}

export type Report =
  | { type: 'ready' }
  | { type: 'done'; id: number; answer: Answer }
  | { type: 'refused'; id: number; code: ErrorCode; message: string }
  | { type: 'output'; position: number; data: Uint8Array }
  /** It stopped on its own account. */
  | { type: 'stopped'; condition: MachineCondition };
