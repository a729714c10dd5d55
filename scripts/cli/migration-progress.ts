import type { Writable } from 'node:stream';
import cliProgress, { type SingleBar } from 'cli-progress';
import type { MigrationEvent, MigrationInfo, QueueEntry, RoundResult } from '../../shared/api.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { formatBytes, formatDuration, formatRate } from '../../shared/units.js';

/** Shows a migration as it happens. */
export interface MigrationProgress {
  show(event: MigrationEvent): void;
  /** Ends the show; what is said next stands on a line of its own. */
  stop(): void;
}

/** Least time between two lines of progress within one round, by the agent's clock. ms */
const LINE_INTERVAL_MS = 2000;

/** Plain lines, for logs: one for each change, and within a round one now and then. */
export class ProgressLines implements MigrationProgress {
  readonly #write: (line: string) => void;
  #lastProgressAt = 0;
  #lastQueueLine = '';

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  show(event: MigrationEvent): void {
    switch (event.event) {
      case 'phase':
        if (event.phase !== 'ended') this.#write(event.phase);
        this.#lastProgressAt = Date.parse(event.at);
        return;
      case 'queue': {
        const line = queueLine(event.queue);
        if (line !== this.#lastQueueLine) this.#write(line);
        this.#lastQueueLine = line;
        return;
      }
      case 'progress': {
        const at = Date.parse(event.at);
        if (at - this.#lastProgressAt < LINE_INTERVAL_MS) return;
        this.#lastProgressAt = at;
        this.#write(
          `round ${event.round}: ${doneText(event)} (${percent(event)} %), ${formatRate(event.bytesPerSecond)}`,
        );
        return;
      }
      case 'round':
        this.#lastProgressAt = Date.parse(event.at);
        this.#write(roundLine(event.round, event.thresholdBytes));
        return;
      case 'ended':
        return;
    }
  }

  stop(): void {
    // every line was complete
  }
}

/** A bar for the round that runs, on a terminal. What ended stays above it as lines. */
export class ProgressBar implements MigrationProgress {
  readonly #stream: Writable;
  readonly #bar: SingleBar;
  readonly #lines: ProgressLines;
  #round: number | undefined;

  /** `stream` is to be a terminal. */
  constructor(stream: Writable) {
    this.#stream = stream;
    this.#bar = new cliProgress.SingleBar(
      {
        stream: stream,
        format: 'round {round} [{bar}] {percentage} % of {size}  {rate}',
        formatBar: (progress, options) => cliProgress.Format.BarFormat(progress, options),
        barsize: 30,
        hideCursor: true,
        clearOnComplete: true,
        stopOnComplete: false,
        linewrap: false,
        // the process must not live for the bar
        emptyOnZero: false,
      },
      cliProgress.Presets.shades_classic,
    );
    this.#lines = new ProgressLines((line) => this.#stream.write(`${line}\n`));
  }

  show(event: MigrationEvent): void {
    if (event.event === 'progress') {
      this.#draw(event);
      return;
    }
    this.stop();
    this.#lines.show(event);
  }

  stop(): void {
    if (this.#round === undefined) return;
    this.#round = undefined;
    this.#bar.stop();
  }

  #draw({ round, pagesDone, pagesTotal, bytesPerSecond }: ProgressEvent): void {
    const shown = { round, size: formatBytes(pagesTotal * PAGE_SIZE), rate: formatRate(bytesPerSecond) };
    if (this.#round !== round) {
      this.stop();
      this.#round = round;
      this.#bar.start(pagesTotal, pagesDone, shown);
      return;
    }
    this.#bar.setTotal(pagesTotal);
    this.#bar.update(pagesDone, shown);
  }
}

type ProgressEvent = Extract<MigrationEvent, { event: 'progress' }>;

/** How far a round is, in memory: '12.0 MiB of 64.0 MiB'. */
export function doneText({ pagesDone, pagesTotal }: NonNullable<MigrationInfo['progress']>): string {
  return `${formatBytes(pagesDone * PAGE_SIZE)} of ${formatBytes(pagesTotal * PAGE_SIZE)}`;
}

function percent({ pagesDone, pagesTotal }: ProgressEvent): number {
  return pagesTotal === 0 ? 100 : Math.floor((100 * pagesDone) / pagesTotal);
}

function roundLine(round: RoundResult, thresholdBytes: number): string {
  const copied = `round ${round.round}: ${round.pages} pages (${formatBytes(round.bytes)}) in ${formatDuration(round.ms)}, ${formatRate(round.bytesPerSecond)}`;
  if (round.residualPages === 0) return copied;
  const left = formatBytes(round.residualPages * PAGE_SIZE);
  return `${copied}; ${left} left, ${formatBytes(thresholdBytes)} fit the downtime limit`;
}

/** Where a migration stands in the queue, in words. */
export function queueLine({ position, state, waitsFor }: QueueEntry): string {
  if (state === 'running') return 'holds the lock of both nodes';
  const nodes = waitsFor.map(({ node, holder }) => (holder === null ? node : `${node} (held by ${holder})`));
  const why = nodes.length === 0 ? '' : `, waits for ${nodes.join(' and ')}`;
  return `queued: place ${position}${why}`;
}
