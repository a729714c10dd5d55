import type { MigrationError } from '../../shared/errors.js';
import type { Run } from '../../shared/page.js';
import type { BlobKind } from '../../shared/protocol/frame.js';
import type { SourceMessage, TargetMessage } from '../../shared/protocol/messages.js';
import type { ConnectionEnd } from './connection.js';

export type { BlobKind } from '../../shared/protocol/frame.js';

/** Both ends of the control connection: validated messages out and in. */
export interface ControlChannel<Out, In> {
  /**
   * Rejects with link-lost if the connection has ended; with limit-exceeded, which ends it, if too much was sent that the
   * peer has not read.
   */
  send(message: Out): Promise<void>;
  /** Adds a receiver for messages; returns how to remove it. A message that no receiver is there for is kept, bounded. */
  onMessage(listener: (message: In) => void): () => void;
  onClose(listener: (end: ConnectionEnd) => void): void;
  close(code: number, reason: string): void;
}

export type SourceControl = ControlChannel<SourceMessage, TargetMessage>;
export type TargetControl = ControlChannel<TargetMessage, SourceMessage>;

/**
 * The sending end of the page streams. Every method resolves as soon as more may follow (in-flight bytes are
 * bounded) and rejects with link-lost when a stream has ended. `data` is read until flush() or the barrier's
 * acknowledgement; memory that changes meanwhile may arrive torn, which the write-log covers.
 */
export interface PageSender {
  /** Bytes put on the wire so far, headers included. */
  readonly wireBytes: number;
  /** Those of them that the connections have taken. */
  readonly takenBytes: number;
  /** Sends the content of `run`; data.length is run.pageCount pages. Any length: it is split into frames. */
  sendPages(run: Run, data: Uint8Array): Promise<void>;
  /** Sends the run as all zero, with no payload. */
  sendZeroPages(run: Run): Promise<void>;
  /** Sends the bytes of a blob from `offset` on. */
  sendBlob(kind: BlobKind, offset: number, data: Uint8Array): Promise<void>;
  /**
   * Sends the end of the round in band on every stream, and resolves once the connections have taken all of it; the
   * target acknowledges with round-ack.
   */
  sendRoundEnd(round: number): Promise<void>;
  /**
   * Deals pages out to the first `streams` streams from now on; all of them at first. Only where no page is sent twice before
   * the round has ended: another stream may carry it now.
   */
  use(streams: number): void;
  onClose(listener: (end: ConnectionEnd) => void): void;
  /** Ends the streams: in good order once all is sent; at once, with an error, so that the link is free of what is under way. */
  close(error?: MigrationError): void;
}

/**
 * Receives what the page streams carry, as it arrives. A method that throws a MigrationError (out-of-range,
 * unexpected-message, limit-exceeded) ends the migration and the connection with the matching close code.
 */
export interface PageSink {
  /** A frame of pages begins: checks the run. Its bytes follow as payload(), in pieces of any length. */
  pages(stream: number, run: Run): void;
  /** The next bytes of the frame, to be written at `offset` bytes from the start of the region. */
  payload(stream: number, region: number, offset: number, chunk: Uint8Array): void;
  /** The memory that these next bytes of the frame belong in, if they may be put there; see FrameSink. */
  place?(stream: number, region: number, offset: number, bytes: number): Uint8Array | null;
  /** So many bytes of payload have come, of pages or a blob. */
  delivered?(stream: number, bytes: number): void;
  /** The last byte of that frame was delivered. */
  pagesEnd(stream: number, run: Run): void;
  zeroPages(stream: number, run: Run): void;
  /** A piece of a blob, at `offset`. */
  blob(stream: number, kind: BlobKind, offset: number, chunk: Uint8Array): void;
  /** All that the stream carried in this round was delivered before. */
  roundEnd(stream: number, round: number): void;
}
