import type { ConsoleChunk, ConsoleEnd } from '../../shared/api.js';
import type { HostedGuest } from './hosted-guest.js';

export interface FollowOptions {
  /**
   * Where to begin; clamped to what is kept. One beyond the end is told by an empty chunk at the end, from which what
   * is printed then goes on.
   */
  position: number;
  /** Go on until the guest is gone or has powered off; else end with what there is now. */
  follow: boolean;
  signal: AbortSignal;
  /** How it ended, once the guest is gone from this node. */
  gone: () => ConsoleEnd | null;
  /** Callbacks to be called when that changes. */
  onGone: Set<() => void>;
}

/**
 * What a guest prints, as latin1: one character a byte, so that nothing of it is lost or joined. A follower that is
 * slower than the guest prints misses what is no longer kept, which shows in the positions.
 */
export async function* followConsole(
  guest: HostedGuest,
  { position, follow, signal, gone, onGone }: FollowOptions,
): AsyncGenerator<ConsoleChunk, ConsoleEnd | null> {
  const { console } = guest;
  const changes = new Changes();
  const notify = () => changes.notify();
  const unsubscribe = [console.onOutput(notify), guest.onChange(notify)];
  onGone.add(notify);
  signal.addEventListener('abort', notify, { once: true });
  let next = Math.max(position, console.start);
  try {
    if (next > console.end) {
      next = console.end;
      yield { position: next, end: next, text: '' };
    }
    for (;;) {
      if (next < console.end) {
        const from = Math.max(next, console.start);
        const bytes = console.read(from);
        next = from + bytes.length;
        yield { position: from, end: next, text: Buffer.from(bytes).toString('latin1') };
        continue;
      }
      if (!follow || signal.aborted) return null;
      const end = gone() ?? (guest.state === 'finished' ? ({ reason: 'finished', to: null } as const) : null);
      if (end) return end;
      await changes.next();
    }
  } finally {
    onGone.delete(notify);
    signal.removeEventListener('abort', notify);
    for (const stop of unsubscribe) stop();
  }
}

/** Wakes one waiter; a notification that comes while nobody waits is kept. */
class Changes {
  #pending = false;
  #wake: (() => void) | null = null;

  notify(): void {
    this.#pending = true;
    this.#wake?.();
    this.#wake = null;
  }

  async next(): Promise<void> {
    if (!this.#pending) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#pending = false;
  }
}
