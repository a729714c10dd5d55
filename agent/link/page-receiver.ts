import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { CLOSE_DONE, errorToCloseCode } from '../../shared/protocol/close-codes.js';
import { FrameDecoder } from '../../shared/protocol/frame-decoder.js';
import { connectionError } from './connection-end.js';
import type { Connection } from './connection.js';
import type { PageSink } from './link.js';

/**
 * Delivers what page stream number `stream` carries to `sink`. A stream that breaks the format, or whose content the
 * sink refuses, is closed with the close code of the error. `onEnd` is called once, when the stream has ended: with
 * null if the source closed it in good order between two frames, else with what went wrong.
 */
export function receivePages(
  connection: Connection,
  stream: number,
  sink: PageSink,
  peer: string,
  onEnd: (error: MigrationError | null) => void,
): void {
  let failure: MigrationError | null = null;
  let ended = false;
  const decoder = streamDecoder(stream, sink);
  const end = (error: MigrationError | null) => {
    if (ended) return;
    ended = true;
    onEnd(error);
  };
  connection.onMessage((chunk) => {
    if (failure) return;
    try {
      decoder.write(chunk);
    } catch (error) {
      failure = toMigrationError(error);
      connection.close(errorToCloseCode(failure.code), failure.message);
      end(failure);
    }
  });
  connection.onClose((closed) => {
    if (closed.code === CLOSE_DONE && decoder.atBoundary) end(null);
    else if (closed.code === CLOSE_DONE) {
      end(new MigrationError('link-lost', `${peer} closed page stream ${stream} within a frame`));
    } else end(connectionError(closed, `${peer} (page stream ${stream})`));
  });
}

/** A decoder that delivers what page stream number `stream` carries to `sink`. */
export function streamDecoder(stream: number, sink: PageSink): FrameDecoder {
  return new FrameDecoder({
    pages: (run) => sink.pages(stream, run),
    payload: (region, offset, chunk) => sink.payload(stream, region, offset, chunk),
    place: (region, offset, bytes) => sink.place?.(stream, region, offset, bytes) ?? null,
    delivered: (bytes) => sink.delivered?.(stream, bytes),
    pagesEnd: (run) => sink.pagesEnd(stream, run),
    zeroPages: (run) => sink.zeroPages(stream, run),
    blob: (kind, offset, chunk) => sink.blob(stream, kind, offset, chunk),
    roundEnd: (round) => sink.roundEnd(stream, round),
  });
}
