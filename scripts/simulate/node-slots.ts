import type { Admission, Requested } from './admission.js';

/**
 * What the pair lock is compared with: each node takes part in so many migrations at once, as source or as target. Where one has
 * ended at a node, the first in the order of arrival that has room at both of its nodes starts. This is a model: no product of ours does so.
 */
export class NodeSlots implements Admission {
  readonly #atOnce: number;
  readonly #start: (migration: Requested) => void;
  readonly #running: number[];
  /** By node, in the order of arrival. */
  readonly #waiting: Requested[][];

  constructor(nodes: number, atOnce: number, start: (migration: Requested) => void) {
    this.#atOnce = atOnce;
    this.#start = start;
    this.#running = Array.from({ length: nodes }, () => 0);
    this.#waiting = Array.from({ length: nodes }, () => []);
  }

  request(migration: Requested): void {
    if (this.#fits(migration)) this.#run(migration);
    else for (const node of [migration.from, migration.to]) this.#waiting[node]!.push(migration);
  }

  release({ from, to }: Requested): void {
    for (const node of [from, to]) this.#running[node]! -= 1;
    const waiting = [...new Set([...this.#waiting[from]!, ...this.#waiting[to]!])];
    for (const migration of waiting.sort((a, b) => a.number - b.number)) {
      if (!this.#fits(migration)) continue;
      for (const node of [migration.from, migration.to]) {
        this.#waiting[node] = this.#waiting[node]!.filter((other) => other !== migration);
      }
      this.#run(migration);
    }
  }

  #fits({ from, to }: Requested): boolean {
    return this.#running[from]! < this.#atOnce && this.#running[to]! < this.#atOnce;
  }

  #run(migration: Requested): void {
    for (const node of [migration.from, migration.to]) this.#running[node]! += 1;
    this.#start(migration);
  }
}
