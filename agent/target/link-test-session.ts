import { MigrationError, toMigrationError } from '../../shared/errors.js';
import type { SourceMessage } from '../../shared/protocol/messages.js';
import { type ScratchMemory } from '../guest/scratch-memory.js';
import type { PageSink, TargetControl } from '../link/link.js';
import type { IncomingPages } from './incoming-pages.js';
import { ReceivedMemory } from './received-memory.js';
import { RoundBarrier } from './round-barrier.js';

export type LinkTest = Extract<SourceMessage, { type: 'link-test' }>;

export interface LinkTestContext {
  readonly control: TargetControl;
  readonly pages: IncomingPages;
  /** Takes the memory. */
  readonly memory: (test: LinkTest) => Promise<ScratchMemory>;
  /** It can't go on: the source is to be told, and the connection closed. */
  readonly refuse: (error: MigrationError) => void;
}

/** The receiving end of one link test: pages go where those of a guest would, and are thrown away. */
export class LinkTestSession {
  readonly #context: LinkTestContext;
  #scratch: ScratchMemory | null = null;
  #starting = false;
  #started = false;
  #ended = false;
  /** What the page streams have delivered, as it counts for the progress of the source. */
  pageBytes = 0;
  /** Resolves when all that it held is released. */
  readonly ended: Promise<void>;
  #resolveEnded!: () => void;

  constructor(context: LinkTestContext) {
    this.#context = context;
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
  }

  /** Whether one may begin: a connection carries one. */
  get fresh(): boolean {
    return !this.#started && !this.#ended;
  }

  /** Takes memory, opens the streams and says so. */
  async start(test: LinkTest): Promise<void> {
    const { memory, pages, control, refuse } = this.#context;
    this.#started = true;
    this.#starting = true;
    try {
      this.#scratch = await memory(test);
      const received = new ReceivedMemory(this.#scratch.regions, 'off');
      const barrier = new RoundBarrier(test.streams);
      const roundEnd = (stream: number, round: number) => {
        if (barrier.end(stream, round)) control.send({ type: 'round-ack', round }).catch(() => undefined);
      };
      const opened = await pages.open({
        streams: test.streams,
        pageToken: test.pageToken,
        verify: 'off',
        memory: received,
        sink: this.#sink(received, roundEnd),
        roundEndElsewhere: roundEnd,
        heardElsewhere: (bytes) => (this.pageBytes += bytes),
      });
      const { transport, token, finding } = opened;
      if (!this.#ended)
        await control.send({ type: 'prepared', transport, token, findings: finding ? [finding] : [] });
    } catch (error) {
      refuse(toMigrationError(error));
    }
    this.#starting = false;
    if (this.#ended) await this.#release();
  }

  /** Ends it for a reason that the source is told. Resolves when all that it held is released. */
  async fail(error: MigrationError): Promise<void> {
    this.#context.refuse(error);
    await this.end();
    await this.ended;
  }

  /** The connection is gone, or about to be. Harmless when repeated. */
  async end(): Promise<void> {
    this.#ended = true;
    this.#context.pages.close();
    if (!this.#starting) await this.#release();
  }

  async #release(): Promise<void> {
    const scratch = this.#scratch;
    this.#scratch = null;
    await scratch?.release();
    this.#resolveEnded();
  }

  #sink(memory: ReceivedMemory, roundEnd: (stream: number, round: number) => void): PageSink {
    return {
      pages: (_stream, run) => memory.check(run),
      delivered: (_stream, bytes) => (this.pageBytes += bytes),
      payload: (_stream, region, offset, chunk) => memory.write(region, offset, chunk),
      place: (_stream, region, offset, bytes) => memory.place(region, offset, bytes),
      pagesEnd: (_stream, run) => memory.applied(run),
      zeroPages: (_stream, run) => {
        memory.check(run);
        memory.writeZeros(run);
      },
      blob: () => {
        throw new MigrationError('unexpected-message', 'a blob came in a link test');
      },
      roundEnd,
    };
  }
}
