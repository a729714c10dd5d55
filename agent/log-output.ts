import { writeSync } from 'node:fs';

const NOTHING = Buffer.alloc(0);

/**
 * Where the log's lines go: written at once, so that none is lost when the process ends. A log that can't be written (its disk is full,
 * its reader is gone) is no reason to stop guests: its lines are dropped and counted, and it goes on once it can. pino's own
 * destination keeps all of them instead, in memory without a bound.
 */
export class LogOutput {
  readonly #fd: number;
  readonly #onMended: (linesLost: number) => void;
  /** What is left of a line of which the rest could not be written. */
  #unfinished: Uint8Array = NOTHING;
  #lost = 0;

  /** `onMended`: lines were dropped, and can be written again. */
  constructor(fd: number, onMended: (linesLost: number) => void) {
    this.#fd = fd;
    this.#onMended = onMended;
  }

  write(line: string): void {
    if (!this.#finish() || !this.#advance(Buffer.from(line))) {
      this.#lost += 1;
      return;
    }
    if (!this.#finish()) return;
    const lost = this.#lost;
    this.#lost = 0;
    if (lost > 0) this.#onMended(lost);
  }

  /** A line that was written in part is not lost: the rest of it comes first. False where it is not taken yet. */
  #finish(): boolean {
    while (this.#unfinished.length > 0) {
      if (!this.#advance(this.#unfinished)) return false;
    }
    return true;
  }

  /** False where nothing is taken. */
  #advance(bytes: Uint8Array): boolean {
    try {
      this.#unfinished = bytes.subarray(writeSync(this.#fd, bytes));
      return true;
    } catch {
      return false;
    }
  }
}
