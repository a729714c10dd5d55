import { setTimeout as delayMs } from 'node:timers/promises';
import { MigrationError, type ErrorCode } from '../../shared/errors.js';
import type { Input } from './session.js';

/** Most bytes of input in one request: as base64 it stays below the agent's limit for a request of 64 KiB. */
const PIECE_BYTES = 32 * 1024;

/** Ctrl-]: leaves the console, as in telnet and virsh. */
export const ESCAPE = 0x1d;

/** Refusals of input that pass: the VM has not read what it has, or it is on its way to another node. */
const PASSING = new Set<ErrorCode>([
  'limit-exceeded',
  'not-found',
  'wrong-state',
  'peer-unreachable',
  'link-lost',
]);
const RETRY_DELAY_MS = 200;
/** 30 s: far longer than a VM is paused for a switchover. */
const MAX_RETRIES = 150;

export interface ForwardOptions {
  readonly input: Input;
  /** Sends a piece to the agent that the VM is on now. */
  readonly send: (data: Uint8Array) => Promise<void>;
  /** Ends the reading. */
  readonly signal: AbortSignal;
  readonly delay?: (ms: number) => Promise<unknown>;
}

/**
 * Sends what is typed or piped in, in order, until its end ('end'), the escape on a terminal ('left'), or the signal
 * ('end'). One request is under way at a time and no more is read meanwhile. Throws if a piece can't be sent for long.
 */
export async function forwardInput(options: ForwardOptions): Promise<'left' | 'end'> {
  const { input, signal } = options;
  const terminal = input.isTTY === true;
  const stop = (): void => void input.destroy();
  signal.addEventListener('abort', stop, { once: true });
  if (terminal) input.setRawMode?.(true);
  try {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      const escape = terminal ? chunk.indexOf(ESCAPE) : -1;
      await sendAll(escape === -1 ? chunk : chunk.subarray(0, escape), options);
      if (escape !== -1) return 'left';
    }
    return 'end';
  } catch (thrown) {
    // destroying the input ends the loop with an error of its own
    if (signal.aborted) return 'end';
    throw thrown;
  } finally {
    signal.removeEventListener('abort', stop);
    if (terminal) input.setRawMode?.(false);
  }
}

async function sendAll(data: Uint8Array, { send, signal, delay = delayMs }: ForwardOptions): Promise<void> {
  for (let offset = 0; offset < data.length; offset += PIECE_BYTES) {
    for (let retries = 0; ; retries++) {
      try {
        await send(data.subarray(offset, offset + PIECE_BYTES));
        break;
      } catch (thrown) {
        const passing = thrown instanceof MigrationError && PASSING.has(thrown.code);
        if (signal.aborted || !passing || retries >= MAX_RETRIES) throw thrown;
        await delay(RETRY_DELAY_MS);
      }
    }
  }
}
