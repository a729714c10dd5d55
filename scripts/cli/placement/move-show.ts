import type { Writable } from 'node:stream';
import cliProgress, { type SingleBar } from 'cli-progress';
import type { MigrationEvent, MigrationResult } from '../../../shared/api.js';
import { formatRate } from '../../../shared/units.js';
import { headline } from '../migration-summary.js';
import type { Session } from '../session.js';
import type { MoveShow, MoveState } from './run-moves.js';

/** Moves as plain lines: one when a move is asked for, begins and ends. */
export class MoveLines implements MoveShow {
  readonly #write: (line: string) => void;
  readonly #total: number;
  #ended = 0;

  constructor(total: number, write: (line: string) => void) {
    this.#total = total;
    this.#write = write;
  }

  asked({ vm, from, to, migration }: MoveState): void {
    this.#write(`${vm}: asked for, from ${from} to ${to} (migration ${migration})`);
  }

  event({ vm, from, to }: MoveState, event: MigrationEvent): void {
    if (event.event === 'phase' && event.phase === 'preparing')
      this.#write(`${vm}: moving from ${from} to ${to}`);
  }

  redirected({ vm, to, failedTargets }: MoveState): void {
    const { node, error } = failedTargets.at(-1)!;
    this.#write(`${vm}: did not get to ${node}, goes to the next best, ${to}: ${error.message}`);
  }

  ended({ vm, to, error }: MoveState, result: MigrationResult | null): void {
    this.#ended += 1;
    const what = result ? headline(result) : `${vm} could not be sent to ${to}`;
    const why = error && result?.outcome !== 'cancelled' ? `: ${error.message}` : '';
    this.#write(`[${this.#ended} of ${this.#total}] ${what}${why}`);
  }

  stop(): void {
    // every line was complete
  }
}

/** The same on a terminal, above a bar for all of them that tells how far those are that run. */
export class MoveBar implements MoveShow {
  readonly #stream: Writable;
  readonly #bar: SingleBar;
  readonly #lines: MoveLines;
  readonly #total: number;
  readonly #running = new Map<MoveState, string>();
  #ended = 0;
  #drawn = false;

  /** `stream` is to be a terminal. */
  constructor(total: number, stream: Writable) {
    this.#total = total;
    this.#stream = stream;
    this.#bar = new cliProgress.SingleBar(
      {
        stream,
        format: '[{bar}] {value} of {total} VMs  {running}',
        barsize: 20,
        hideCursor: true,
        clearOnComplete: true,
        stopOnComplete: false,
        linewrap: false,
      },
      cliProgress.Presets.shades_classic,
    );
    this.#lines = new MoveLines(total, (line) => {
      this.stop();
      this.#stream.write(`${line}\n`);
    });
  }

  asked(state: MoveState): void {
    this.#lines.asked(state);
    this.#draw();
  }

  event(state: MoveState, event: MigrationEvent): void {
    this.#lines.event(state, event);
    if (event.event !== 'progress') return;
    const { round, pagesDone, pagesTotal, bytesPerSecond } = event;
    const percent = pagesTotal === 0 ? 100 : Math.floor((100 * pagesDone) / pagesTotal);
    this.#running.set(state, `${state.vm}: round ${round}, ${percent} %, ${formatRate(bytesPerSecond)}`);
    this.#draw();
  }

  redirected(state: MoveState): void {
    this.#running.delete(state);
    this.#lines.redirected(state);
    this.#draw();
  }

  ended(state: MoveState, result: MigrationResult | null): void {
    this.#running.delete(state);
    this.#ended += 1;
    this.#lines.ended(state, result);
    if (this.#ended < this.#total) this.#draw();
  }

  stop(): void {
    if (this.#drawn) this.#bar.stop();
    this.#drawn = false;
  }

  #draw(): void {
    const running = [...this.#running.values()].join('   ');
    if (this.#drawn) this.#bar.update(this.#ended, { running });
    else this.#bar.start(this.#total, this.#ended, { running });
    this.#drawn = true;
  }
}

/** As fits where it is shown. */
export function moveShow({ terminal: { stdout }, output }: Session, total: number): MoveShow {
  if (stdout.isTTY === true && !output.json) return new MoveBar(total, stdout);
  return new MoveLines(total, (line) => output.progress(line));
}
