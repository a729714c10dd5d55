import { type ErrorBody, MigrationError, toMigrationError } from '../../shared/errors.js';
import { AgentThread } from '../threads/agent-thread.js';
import { ThreadPool } from '../threads/thread-pool.js';
import type { LaneCommand, LaneReport, LaneRequest, PageLane } from './page-lane.js';

const TRAITS = { name: 'page lane', heapMiB: 32 };

export interface LaneEvents {
  roundEnd(stream: number, round: number, pagesApplied: number): void;
  heard(bytes: number): void;
  ended(error: MigrationError | null): void;
}

/** Threads that read page streams into guest memory: copying it out of the kernel is most of what a target does. */
export class LaneThreads {
  readonly #pool: ThreadPool<LaneThread>;

  /** `most`: threads that are kept. */
  constructor(most: number) {
    this.#pool = new ThreadPool(most, (onExit) => new LaneThread(onExit));
  }

  warmUp(): void {
    this.#pool.warmUp();
  }

  /** Opens a lane in a thread. Rejects as openLane(). */
  async open(request: LaneRequest, events: LaneEvents, signal: AbortSignal): Promise<PageLane> {
    signal.throwIfAborted();
    const thread = this.#pool.take();
    const giveUp = () => thread.giveUp();
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      return await thread.open(request, events, () => this.#pool.give(thread));
    } catch (error) {
      this.#pool.give(thread);
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }
}

/** One thread, from the agent's side. */
class LaneThread {
  readonly #thread: AgentThread<LaneCommand, LaneReport>;

  /** `onExit`: it is no more. */
  constructor(onExit: () => void) {
    this.#thread = new AgentThread(new URL('./page-lane-worker.js', import.meta.url), TRAITS, onExit);
  }

  /** `onClosed`: the lane was closed and the thread is free again. */
  open(request: LaneRequest, events: LaneEvents, onClosed: () => void): Promise<PageLane> {
    const { stream } = request;
    return new Promise((resolve, reject) => {
      let sealed: { resolve: () => void; reject: (error: MigrationError) => void } | null = null;
      let opened = false;
      /** Why the lane is of no use any more; the thread may serve another one by then. */
      let over: MigrationError | null = null;
      const lane: PageLane = {
        seal: () =>
          new Promise((resolve, reject) => {
            if (over) {
              reject(over);
              return;
            }
            sealed = { resolve, reject };
            this.#thread.say({ do: 'seal' });
          }),
        close: () => {
          if (over) return;
          over = new MigrationError('link-lost', `page stream ${stream} was closed`);
          sealed?.reject(over);
          sealed = null;
          this.#thread.say({ do: 'close' });
        },
      };
      this.#thread.broken = (error) => {
        if (!opened) reject(error);
        sealed?.reject(error);
        if (opened && !over) events.ended(error);
        over ??= error;
        opened = false;
        sealed = null;
      };
      const hear = (report: LaneReport) => {
        switch (report.say) {
          case 'opened':
            opened = true;
            resolve(lane);
            break;
          case 'refused':
            reject(asError(report.error));
            break;
          case 'round-end':
            events.roundEnd(stream, report.round, report.pagesApplied);
            break;
          case 'heard':
            events.heard(report.bytes);
            break;
          case 'sealed':
            if (report.error) sealed?.reject(asError(report.error));
            else sealed?.resolve();
            sealed = null;
            break;
          case 'ended':
            events.ended(report.error && asError(report.error));
            break;
          case 'closed':
            over ??= new MigrationError('cancelled', `page stream ${stream} was not needed any more`);
            this.#thread.broken = () => undefined;
            onClosed();
            break;
        }
      };
      this.#thread.hear = (report) => {
        try {
          hear(report);
        } catch (thrown) {
          // What a peer sent was refused; thrown out of a message of the thread it would end the process.
          events.ended(toMigrationError(thrown));
        }
      };
      this.#thread.say({ do: 'open', request });
    });
  }

  /** The lane that is being opened is not needed. */
  giveUp(): void {
    this.#thread.say({ do: 'close' });
  }

  end(): Promise<void> {
    return this.#thread.end();
  }
}

function asError({ code, message }: ErrorBody): MigrationError {
  return new MigrationError(code, message);
}
