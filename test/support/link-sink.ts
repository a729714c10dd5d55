import type { PageSink } from '../../agent/link/link.js';
import type { BlobKind } from '../../shared/protocol/frame.js';
import type { Run } from '../../shared/page.js';
import { PAGE_SIZE } from '../../shared/page.js';

/** A sink over an array of regions that records what it is told, in order. */
export class RecordingSink implements PageSink {
  readonly events: unknown[] = [];
  readonly blobs = new Map<BlobKind, Uint8Array>();
  readonly regions: readonly Uint8Array[];
  readonly #roundEnds: { round: number; seen: number; resolve: () => void; streams: number }[] = [];
  readonly #endsSeen = new Map<number, number>();

  constructor(regions: readonly Uint8Array[]) {
    this.regions = regions;
  }

  /** Resolves once `streams` streams have delivered the end of `round`. */
  roundEnded(round: number, streams: number): Promise<void> {
    return new Promise((resolve) => {
      const seen = this.#endsSeen.get(round) ?? 0;
      if (seen >= streams) resolve();
      else this.#roundEnds.push({ round, seen, resolve, streams });
    });
  }

  pages(stream: number, run: Run): void {
    this.events.push({ pages: run, stream });
  }

  payload(_stream: number, region: number, offset: number, chunk: Uint8Array): void {
    this.regions[region]?.set(chunk, offset);
  }

  pagesEnd(stream: number, run: Run): void {
    this.events.push({ pagesEnd: run, stream });
  }

  zeroPages(stream: number, run: Run): void {
    this.events.push({ zeroPages: run, stream });
    const start = run.firstPage * PAGE_SIZE;
    this.regions[run.region]?.fill(0, start, start + run.pageCount * PAGE_SIZE);
  }

  blob(_stream: number, kind: BlobKind, offset: number, chunk: Uint8Array): void {
    const whole = new Uint8Array(offset + chunk.length);
    whole.set(this.blobs.get(kind) ?? []);
    whole.set(chunk, offset);
    this.blobs.set(kind, whole);
  }

  roundEnd(stream: number, round: number): void {
    this.events.push({ roundEnd: round, stream });
    this.#endsSeen.set(round, (this.#endsSeen.get(round) ?? 0) + 1);
    for (const waiting of this.#roundEnds) {
      if (waiting.round === round && (this.#endsSeen.get(round) ?? 0) >= waiting.streams) waiting.resolve();
    }
  }
}
