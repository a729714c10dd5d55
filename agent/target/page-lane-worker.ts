import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { openRegions, type SharedRegions } from '../guest/region-handle.js';
import type { PageSink } from '../link/link.js';
import { type LaneCommand, type LaneReport, type LaneRequest, openLane, type PageLane } from './page-lane.js';
import { ReceivedMemory } from './received-memory.js';
import { ZERO_FRAME_PROGRESS_BYTES } from './silent-source.js';
import { reportToAgent, serveAgent } from '../threads/serve-agent.js';

/** The thread of a page lane: reads one page stream into the guest's memory, and tells the agent how it goes. */

/** How often it says that it gets on, at most. ms */
const HEARD_EVERY_MS = 5000;

const say = (report: LaneReport) => reportToAgent(report);

class Reading {
  readonly #request: LaneRequest;
  #shared: SharedRegions | null = null;
  #lane: PageLane | null = null;
  #sealed = false;
  readonly #closing = new AbortController();
  #heardAt = -Infinity;
  /** Come since that was said. */
  #heardBytes = 0;

  constructor(request: LaneRequest) {
    this.#request = request;
  }

  async open(): Promise<void> {
    const { regions, verify, applied } = this.#request;
    try {
      this.#shared = openRegions(regions);
      const memory = new ReceivedMemory(this.#shared.regions, verify, applied ?? undefined);
      const { signal } = this.#closing;
      const ended = (error: MigrationError | null) => say({ say: 'ended', error: error?.toJSON() ?? null });
      const lane = await openLane(this.#request, memory, this.#sink(memory), ended, signal);
      if (signal.aborted) {
        lane.close();
        throw signal.reason;
      }
      this.#lane = lane;
      say({ say: 'opened' });
    } catch (error) {
      this.#release();
      say({ say: 'refused', error: toMigrationError(error).toJSON() });
    }
  }

  async seal(): Promise<void> {
    this.#sealed = true;
    try {
      await this.#lane?.seal();
      say({ say: 'sealed', error: null });
    } catch (error) {
      say({ say: 'sealed', error: toMigrationError(error).toJSON() });
    }
  }

  /** One that is still being opened is refused. */
  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new MigrationError('cancelled', 'the page stream is not needed any more'));
    if (!this.#lane) return;
    this.#lane.close();
    this.#release();
    say({ say: 'closed' });
  }

  #release(): void {
    this.#shared?.release();
    this.#shared = null;
  }

  #sink(memory: ReceivedMemory): PageSink {
    return {
      pages: (_stream, run) => {
        this.#begins();
        memory.check(run);
      },
      payload: (_stream, region, offset, chunk) => memory.write(region, offset, chunk),
      place: (_stream, region, offset, bytes) => memory.place(region, offset, bytes),
      delivered: (_stream, bytes) => this.#heard(bytes),
      pagesEnd: (_stream, run) => memory.applied(run),
      zeroPages: (_stream, run) => {
        this.#begins();
        this.#heard(ZERO_FRAME_PROGRESS_BYTES);
        memory.check(run);
        memory.writeZeros(run);
        memory.applied(run);
      },
      blob: (stream) => {
        throw new MigrationError(
          'unexpected-message',
          `a blob came on page stream ${stream}: they travel on 0`,
        );
      },
      roundEnd: (_stream, round) => {
        this.#begins();
        say({ say: 'round-end', round, pagesApplied: memory.pagesApplied });
      },
    };
  }

  /** A frame begins. */
  #begins(): void {
    if (this.#sealed) {
      throw new MigrationError('unexpected-message', 'pages came after the source had said that all is sent');
    }
  }

  #heard(bytes: number): void {
    this.#heardBytes += bytes;
    const now = performance.now();
    if (now - this.#heardAt < HEARD_EVERY_MS) return;
    this.#heardAt = now;
    say({ say: 'heard', bytes: this.#heardBytes });
    this.#heardBytes = 0;
  }
}

let reading: Reading | null = null;

serveAgent((command: LaneCommand) => {
  switch (command.do) {
    case 'open':
      reading = new Reading(command.request);
      void reading.open();
      break;
    case 'seal':
      void reading?.seal();
      break;
    case 'close':
      reading?.close();
      break;
  }
});
