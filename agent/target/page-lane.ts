import { type ErrorBody, MigrationError } from '../../shared/errors.js';
import type { VerifyMode } from '../../shared/protocol/messages.js';
import type { RegionHandle } from '../guest/guest.js';
import type { PageSink } from '../link/link.js';
import { streamDecoder } from '../link/page-receiver.js';
import { dialTcpPages, type PageTls } from '../link/tcp-pages.js';
import type { ReceivedMemory } from './received-memory.js';

/**
 * A page stream that this side has opened at the source, and the thread that reads it: the agent's own for stream 0, and one
 * of its lane threads for each other.
 */
export interface PageLane {
  /**
   * To be called once the source has said that all is sent: resolves when nothing more can be written by this stream.
   * Rejects with unexpected-message if there is more of it.
   */
  seal(): Promise<void>;
  /** Ends it at once. Harmless when repeated. */
  close(): void;
}

/** What a lane is opened with; passed between threads. */
export interface LaneAddress {
  readonly url: string;
  /** Names the source in errors. */
  readonly peer: string;
  /** Null: no TLS. */
  readonly tls: PageTls | null;
  readonly migrationId: string;
  readonly stream: number;
  readonly token: string;
}

export interface LaneRequest extends LaneAddress {
  readonly regions: readonly RegionHandle[];
  readonly verify: VerifyMode;
  /** Hashes of pages as applied, for `--verify after`; see ReceivedMemory. */
  readonly applied: readonly SharedArrayBuffer[] | null;
}

/** To a lane thread. */
export type LaneCommand =
  { readonly do: 'open'; readonly request: LaneRequest } | { readonly do: 'seal' } | { readonly do: 'close' };

/** From a lane thread, in this order: opened or refused; round-end, heard, sealed or ended; closed. */
export type LaneReport =
  | { readonly say: 'opened' }
  | { readonly say: 'refused'; readonly error: ErrorBody }
  /** `pagesApplied`: by this lane, in all rounds. */
  | { readonly say: 'round-end'; readonly round: number; readonly pagesApplied: number }
  /** It gets on: so many bytes more. */
  | { readonly say: 'heard'; readonly bytes: number }
  | { readonly say: 'sealed'; readonly error: ErrorBody | null }
  | { readonly say: 'ended'; readonly error: ErrorBody | null }
  /** All is let go; the thread can take another request. */
  | { readonly say: 'closed' };

/** Staging for memory that bytes are written to by system calls: half of what a processor's second cache holds. bytes */
export const WRITE_THROUGH_STAGING_BYTES = 512 * 1024;

/** Opens a lane in this thread. Rejects as dialTcpPages; `signal` gives it up. */
export async function openLane(
  address: LaneAddress,
  memory: Pick<ReceivedMemory, 'writesThrough'>,
  sink: PageSink,
  onEnd: (error: MigrationError | null) => void,
  signal: AbortSignal,
): Promise<PageLane> {
  const intake = streamDecoder(address.stream, sink);
  const pages = await dialTcpPages({
    ...address,
    intake,
    ...(memory.writesThrough && { stagingBytes: WRITE_THROUGH_STAGING_BYTES }),
    onEnd,
    signal,
  });
  return {
    seal: () => (intake.atBoundary ? Promise.resolve() : Promise.reject(unsealed(address))),
    close: () => pages.close(),
  };
}

/** A frame that is not complete when all is said to be sent: its rest would be written to a guest that runs. */
export function unsealed({ peer, stream }: LaneAddress): MigrationError {
  return new MigrationError(
    'unexpected-message',
    `${peer} said that all is sent within a frame of page stream ${stream}`,
  );
}
