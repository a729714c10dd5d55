import type { ConnectionEnd } from '../../agent/link/connection.js';
import type { ControlChannel, SourceControl, TargetControl } from '../../agent/link/link.js';
import { MigrationError } from '../../shared/errors.js';
import type { SourceMessage, TargetMessage } from '../../shared/protocol/messages.js';
import type { VirtualTimers } from './virtual-timers.js';

/** How long each message takes, in ms of virtual time; they arrive in order all the same. */
export type DelayMs = () => number;

export interface ControlPair {
  readonly source: SourceControl;
  readonly target: TargetControl;
  /** Breaks the connection; messages under way are lost. Each side notices after a delay of its own. */
  cut(): void;
  /** Messages under way. */
  readonly inFlight: number;
}

class End<Out, In> implements ControlChannel<Out, In> {
  open = true;
  inFlight = 0;
  peer!: End<In, Out>;
  readonly #timers: VirtualTimers;
  readonly #delayMs: DelayMs;
  readonly #receivers = new Set<(message: In) => void>();
  readonly #kept: In[] = [];
  readonly #closeListeners: ((end: ConnectionEnd) => void)[] = [];
  #end: ConnectionEnd | undefined;
  #lastArrival = 0;
  #deaf = false;

  constructor(timers: VirtualTimers, delayMs: DelayMs) {
    this.#timers = timers;
    this.#delayMs = delayMs;
  }

  send(message: Out): Promise<void> {
    if (!this.open) return Promise.reject(new MigrationError('link-lost', 'the connection is closed'));
    const arrival = Math.max(this.#lastArrival, this.#timers.now + this.#delayMs());
    this.#lastArrival = arrival;
    this.inFlight += 1;
    this.#timers.after(arrival - this.#timers.now, () => {
      this.inFlight -= 1;
      this.peer.receive(message);
    });
    return Promise.resolve();
  }

  receive(message: In): void {
    if (!this.open || this.#deaf) return;
    if (this.#receivers.size === 0) this.#kept.push(message);
    for (const receiver of [...this.#receivers]) receiver(message);
  }

  onMessage(listener: (message: In) => void): () => void {
    this.#receivers.add(listener);
    for (const message of this.#kept.splice(0)) listener(message);
    return () => void this.#receivers.delete(listener);
  }

  onClose(listener: (end: ConnectionEnd) => void): void {
    if (this.#end) listener(this.#end);
    else this.#closeListeners.push(listener);
  }

  close(code: number, reason: string): void {
    if (!this.open) return;
    this.ended({ code, reason, local: true });
    // What was sent before arrives before the end does.
    const delay = Math.max(this.#lastArrival - this.#timers.now, this.#delayMs());
    this.#timers.after(delay, () => this.peer.ended({ code, reason, local: false }));
  }

  /** Nothing that is under way or sent from here on arrives; this side notices later. */
  cut(): void {
    this.#deaf = true;
    this.#timers.after(this.#delayMs(), () => this.ended({ code: 1006, reason: '', local: false }));
  }

  ended(end: ConnectionEnd): void {
    if (this.#end) return;
    this.open = false;
    this.#end = end;
    for (const listener of this.#closeListeners) listener(end);
  }
}

/** Both ends of a control connection in memory, on virtual time. */
export function memoryControl(timers: VirtualTimers, delayMs: DelayMs): ControlPair {
  const source = new End<SourceMessage, TargetMessage>(timers, delayMs);
  const target = new End<TargetMessage, SourceMessage>(timers, delayMs);
  source.peer = target;
  target.peer = source;
  return {
    source,
    target,
    cut() {
      source.cut();
      target.cut();
    },
    get inFlight() {
      return source.inFlight + target.inFlight;
    },
  };
}
