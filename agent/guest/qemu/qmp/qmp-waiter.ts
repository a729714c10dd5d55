import type { Timers } from '../../../../shared/timers.js';
import { QmpTimeoutError } from './qmp-errors.js';

export interface WaitLimits {
  /** Gives up after this long. ms */
  timeoutMs?: number | undefined;
  /** Gives up when it aborts, with its reason. */
  signal?: AbortSignal | undefined;
}

/**
 * Something that QEMU is expected to say: settles once, whichever comes first of it, the time limit and the abort.
 * A rejection that nobody awaits (yet) is no unhandled one: a command is often sent early and awaited late.
 */
export class QmpWaiter<Value> {
  readonly promise: Promise<Value>;
  readonly #timers: Timers;
  readonly #onSettled: () => void;
  #fulfil!: (value: Value) => void;
  #refuse!: (reason: unknown) => void;
  #disarm: () => void = () => undefined;
  #settled = false;

  /** Calls `onSettled` once. `what` names what is awaited, for the message of a timeout. */
  constructor(timers: Timers, what: string, { timeoutMs, signal }: WaitLimits, onSettled: () => void) {
    this.#timers = timers;
    this.#onSettled = onSettled;
    this.promise = new Promise((resolve, reject) => {
      this.#fulfil = resolve;
      this.#refuse = reject;
    });
    this.promise.catch(() => undefined);
    this.#arm(what, timeoutMs, signal);
  }

  resolve(value: Value): void {
    if (this.#settle()) this.#fulfil(value);
  }

  reject(reason: unknown): void {
    if (this.#settle()) this.#refuse(reason);
  }

  #arm(what: string, timeoutMs: number | undefined, signal: AbortSignal | undefined): void {
    const abort = () => this.reject(signal?.reason);
    const cancel =
      timeoutMs === undefined
        ? undefined
        : this.#timers.after(timeoutMs, () => this.reject(new QmpTimeoutError(what, timeoutMs)));
    signal?.addEventListener('abort', abort, { once: true });
    this.#disarm = () => {
      cancel?.();
      signal?.removeEventListener('abort', abort);
    };
  }

  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#disarm();
    this.#onSettled();
    return true;
  }
}
