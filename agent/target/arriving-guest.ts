import { MigrationError, toMigrationError } from '../../shared/errors.js';
import type { Run } from '../../shared/page.js';
import type { Guest, IncomingGuest } from '../guest/guest.js';
import type { BlobKind, PageSink } from '../link/link.js';
import { ArrivingState } from './arriving-state.js';
import { BlobBuffer } from './blob-buffer.js';
import { ReceivedMemory } from './received-memory.js';
import { RoundBarrier } from './round-barrier.js';
import { ZERO_FRAME_PROGRESS_BYTES } from './silent-source.js';
import type { Finalize, Prepare, TargetState } from './target-state.js';

/** The stream that carries blobs, in order. */
const BLOB_STREAM = 0;

export interface ArrivingGuestContext {
  readonly prepare: Prepare;
  readonly state: () => TargetState;
  /** The error for what must not come in that state. */
  readonly unexpected: (what: string) => MigrationError;
  /** Writes the program image to disk. */
  readonly stageImage: (image: Uint8Array) => Promise<void>;
  /** All streams have ended that round. */
  readonly onRoundOver: (round: number) => void;
  /** What fails of it ends the migration at once, however much is still to come. */
  readonly fail: (error: MigrationError) => void;
}

/** What the page streams deliver of one guest, round by round: its memory, its program image, its CPU and device state. */
export class ArrivingGuest {
  readonly #context: ArrivingGuestContext;
  readonly #rounds: RoundBarrier;
  /** The machine of the guest, once it has started; null once it was let go. */
  #machine: Promise<Guest> | null;
  /** Null once it was let go. */
  #memory: ReceivedMemory | null;
  #image: BlobBuffer | null = null;
  /** The program image is being written to disk. */
  #imageStaged: Promise<void> | null = null;
  #deviceState = new ArrivingState();
  /** The guest is loading it, while it arrives. */
  #loading: Promise<void> | null = null;
  #pageBytes = 0;

  constructor(incoming: IncomingGuest, context: ArrivingGuestContext) {
    const { prepare } = context;
    this.#context = context;
    this.#machine = incoming.machine;
    this.#memory = new ReceivedMemory(incoming.regions, prepare.verify);
    this.#rounds = new RoundBarrier(prepare.streams);
    if (prepare.imageBytes > 0) this.#image = new BlobBuffer('the program image', prepare.imageBytes);
  }

  get memory(): ReceivedMemory | null {
    return this.#memory;
  }

  /** What the page streams have delivered, as it counts for the progress of the source. */
  get pageBytes(): number {
    return this.#pageBytes;
  }

  /** Rounds that all streams have ended. */
  get roundsOver(): number {
    return this.#rounds.over;
  }

  /** Where the page streams deliver that are read in this thread. */
  readonly sink: PageSink = {
    pages: (_stream, run) => this.#receiving('pages')?.check(run),
    payload: (_stream, region, offset, chunk) => this.#receiving('pages')?.write(region, offset, chunk),
    delivered: (_stream, bytes) => (this.#pageBytes += bytes),
    place: (_stream, region, offset, bytes) => this.#receiving('pages')?.place(region, offset, bytes) ?? null,
    pagesEnd: (_stream, run) => this.#receiving('pages')?.applied(run),
    zeroPages: (_stream, run) => this.#zeroPages(run),
    blob: (stream, kind, offset, chunk) => this.#blob(stream, kind, offset, chunk),
    roundEnd: (stream, round) => this.#roundEnd(stream, round),
  };

  /** So many bytes came by a stream that is read in another thread. */
  heardElsewhere(bytes: number): void {
    this.#pageBytes += bytes;
  }

  /** Such a stream has ended a round; `pagesApplied`: by it, in all rounds. */
  roundEndElsewhere(stream: number, round: number, pagesApplied: number): void {
    this.#memory?.appliedElsewhere(stream, pagesApplied);
    this.#roundEnd(stream, round);
  }

  /** Resolves once all that the source has sent is there and loaded. Throws what is missing or wrong. */
  async complete({ pagesSent, stateDigest }: Finalize): Promise<void> {
    const { imageBytes: announced } = this.#context.prepare;
    const applied = this.#memory?.pagesApplied ?? 0;
    if (applied !== pagesSent) {
      const text = `${pagesSent} pages were sent and ${applied} arrived: the link lost some`;
      throw new MigrationError('bad-frame', text);
    }
    const imageBytes = this.#image?.bytes.length ?? 0;
    if (imageBytes !== announced) {
      const text = `a program image of ${announced} bytes was announced and ${imageBytes} came`;
      throw new MigrationError('bad-frame', text);
    }
    this.#deviceState.complete(stateDigest);
    await this.#startLoading();
    await this.#imageStaged;
  }

  /** No more of it will come. */
  giveUp(error: MigrationError): void {
    this.#deviceState.fail(error);
  }

  /** The guest has all of it, and may end before the connection does: what is still asked for are hashes. */
  letGo(): void {
    this.#machine = null;
    this.#image = null;
    this.#deviceState = new ArrivingState();
    if (this.#context.prepare.verify === 'after') this.#memory?.release();
    else this.#memory = null;
  }

  /**
   * The memory to write to; null where the migration is being given up: what is still on its way is dropped, and the
   * control connection says why.
   */
  #receiving(what: string): ReceivedMemory | null {
    const { name } = this.#context.state();
    if (name === 'aborting' || name === 'aborted') return null;
    if (name !== 'receiving' || !this.#memory) throw this.#context.unexpected(what);
    return this.#memory;
  }

  #zeroPages(run: Run): void {
    const memory = this.#receiving('zero-pages');
    if (!memory) return;
    this.#pageBytes += ZERO_FRAME_PROGRESS_BYTES;
    memory.check(run);
    memory.writeZeros(run);
    memory.applied(run);
  }

  #blob(stream: number, kind: BlobKind, offset: number, chunk: Uint8Array): void {
    const { unexpected } = this.#context;
    if (!this.#receiving('blob')) return;
    if (stream !== BLOB_STREAM) throw unexpected(`a blob on stream ${stream}`);
    const buffer = kind === 'device-state' ? this.#deviceState : this.#image;
    if (!buffer) throw unexpected('a program image that was not announced');
    buffer.add(offset, chunk);
    if (buffer === this.#image && buffer.complete) this.#stageImage(buffer.bytes);
  }

  /** While pages come: nothing of it is left to do in the switchover. */
  #stageImage(image: Uint8Array): void {
    const { stageImage, fail } = this.#context;
    this.#imageStaged = stageImage(image);
    this.#imageStaged.catch((error: unknown) => fail(toMigrationError(error)));
  }

  #roundEnd(stream: number, round: number): void {
    if (!this.#receiving('round-end')) return;
    const over = this.#rounds.end(stream, round);
    if (stream === BLOB_STREAM) this.#deviceState.endRound();
    if (!over) return;
    if (this.#deviceState.release()) void this.#startLoading();
    this.#context.onRoundOver(this.#rounds.over - 1);
  }

  #startLoading(): Promise<void> {
    if (!this.#loading) {
      const { fail } = this.#context;
      this.#loading = this.#machine!.then((guest) => guest.loadState(this.#deviceState));
      this.#loading.catch((error: unknown) => fail(toMigrationError(error, 'load-failed')));
    }
    return this.#loading;
  }
}
