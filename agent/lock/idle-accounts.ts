import type { Timers } from '../../shared/timers.js';

/**
 * Time for which a node may stand idle for migrations of another one, offered to them or kept for them, while somebody else's
 * wait for it and none of theirs runs. ms; bounds what a place in the queue that is never used can cost.
 */
export const IDLE_LIMIT_MS = 300_000;

/** How long migrations of a node that has used that up come behind others, unless one of them runs before. ms */
export const LAPSE_MS = 3_600_000;

/** Nodes that are remembered; the first ones are forgotten beyond. Without TLS a peer can call itself anything. */
const MAX_ACCOUNTS = 1024;

export interface IdleAccountsOptions {
  readonly timers: Pick<Timers, 'after'>;
  /** Monotonic. ms */
  readonly now: () => number;
  readonly limitMs: number;
  readonly lapseMs: number;
  /** That node has used up its time. */
  readonly lapse: (node: string) => void;
  /** The lapse of that node is over. */
  readonly forgive: (node: string) => void;
}

/** For how long this node has stood idle for the migrations of each other one, since one of those ran here. */
export class IdleAccounts {
  readonly #options: IdleAccountsOptions;
  readonly #spentMs = new Map<string, number>();
  readonly #lapses = new Map<string, () => void>();
  #running: { readonly node: string; readonly since: number; readonly stop: () => void } | null = null;
  #closed = false;

  constructor(options: IdleAccountsOptions) {
    this.#options = options;
  }

  /** From now on it stands idle for that node, or, null, for none. */
  charge(node: string | null): void {
    const { timers, now, limitMs } = this.#options;
    if (this.#closed || node === (this.#running?.node ?? null)) return;
    this.#stop();
    if (node === null || this.#lapses.has(node)) return;
    const leftMs = limitMs - (this.#spentMs.get(node) ?? 0);
    this.#running = { node, since: now(), stop: timers.after(leftMs, () => this.#lapse(node)) };
  }

  /** One of its migrations runs here. */
  clear(node: string): void {
    if (this.#running?.node === node) this.#stop();
    this.#spentMs.delete(node);
    this.#lapses.get(node)?.();
    this.#lapses.delete(node);
  }

  /** Stops all timers and sets no more. */
  close(): void {
    this.#closed = true;
    this.#stop();
    for (const stop of this.#lapses.values()) stop();
    this.#lapses.clear();
  }

  #stop(): void {
    if (!this.#running) return;
    const { node, since, stop } = this.#running;
    this.#running = null;
    stop();
    this.#spentMs.set(node, (this.#spentMs.get(node) ?? 0) + this.#options.now() - since);
    const [oldest] = this.#spentMs.keys();
    if (this.#spentMs.size > MAX_ACCOUNTS && oldest !== undefined) this.#spentMs.delete(oldest);
  }

  #lapse(node: string): void {
    const { timers, lapseMs, lapse, forgive } = this.#options;
    this.#running = null;
    this.#spentMs.delete(node);
    const end = () => {
      this.#lapses.delete(node);
      forgive(node);
    };
    this.#lapses.set(node, timers.after(lapseMs, end));
    lapse(node);
  }
}
