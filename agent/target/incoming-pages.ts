import type { Logger } from 'pino';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { CLOSE_DONE } from '../../shared/protocol/close-codes.js';
import type { Connection } from '../link/connection.js';
import { PAGES_BY_WEBSOCKET } from '../link/link-paths.js';
import { receivePages } from '../link/page-receiver.js';
import { isPageToken, newPageToken } from '../link/page-token.js';
import type { Credentials } from '../../shared/tls/credentials.js';
import type { LaneThreads } from './lane-threads.js';
import { type LaneAddress, openLane, type PageLane } from './page-lane.js';
import type { OpenedStreams, StreamsRequest } from './target-context.js';

/** Where streams that this side opens come from and are read. */
export interface StreamSource {
  /** URL of the source's agent; undefined if this node does not know it, or is not to open streams. */
  readonly url: string | undefined;
  readonly threads: LaneThreads;
  /** What this node shows there; null: no TLS. */
  readonly tls: Credentials | null;
}

export interface IncomingPagesContext extends StreamSource {
  readonly migration: string;
  /** Node that the guest comes from. */
  readonly from: string;
  readonly logger: Logger;
  /** A stream has ended, or what it carried was refused. */
  readonly fail: (error: MigrationError) => void;
}

/** Streams that the source opens here, over WebSocket. */
interface Welcome {
  readonly token: string;
  readonly request: StreamsRequest;
  readonly open: Map<number, Connection>;
}

/**
 * The page streams of one migration to this node. Where the source offers it and this side can reach it they are plain TCP, opened
 * from here and each read by a thread of its own; else the source opens WebSockets, which pass through proxies and are
 * all read by this thread.
 */
export class IncomingPages {
  readonly #context: IncomingPagesContext;
  #welcome: Welcome | null = null;
  #lanes: readonly PageLane[] = [];
  readonly #closing = new AbortController();

  constructor(context: IncomingPagesContext) {
    this.#context = context;
  }

  /** Rejects with the reason of the request's signal, or `cancelled` once it was closed. */
  async open(request: StreamsRequest): Promise<OpenedStreams> {
    const { url, from, logger } = this.#context;
    const { pageToken } = request;
    const signal = AbortSignal.any([this.#closing.signal, ...(request.signal ? [request.signal] : [])]);
    let finding: OpenedStreams['finding'] = null;
    if (pageToken !== undefined) {
      try {
        if (url === undefined)
          throw new MigrationError('unknown-node', `node ${from} is not among the peers`);
        await this.#dial({ url, token: pageToken }, request, signal);
        return { transport: 'tcp', token: '', finding: null };
      } catch (error) {
        signal.throwIfAborted();
        const { message } = toMigrationError(error);
        logger.warn(
          { err: error },
          'page streams could not be opened at the source: it opens them, over WebSocket',
        );
        finding = {
          level: 'warning',
          code: PAGES_BY_WEBSOCKET,
          message: `pages come over WebSocket, slower than over TCP: ${message}`.slice(0, 1000),
          remedy: `let the target reach the agent of node ${from}: its address is one of the target's 'peers'`,
        };
      }
    }
    signal.throwIfAborted();
    const token = newPageToken();
    this.#welcome = { token, request, open: new Map() };
    return { transport: 'websocket', token, finding };
  }

  /**
   * Who takes a page connection over that the source opens; `peer`: the node that it is certified for, null without TLS. Throws
   * not-found or wrong-state.
   */
  authorize(stream: number, token: string, peer: string | null): (connection: Connection) => void {
    const { migration, from, fail } = this.#context;
    const welcome = this.#welcome;
    const foreign = peer !== null && peer !== from;
    if (!welcome || foreign || !isPageToken(welcome.token, token)) throw notExpected();
    if (stream >= welcome.request.streams || welcome.open.has(stream)) {
      throw new MigrationError(
        'wrong-state',
        `page stream ${stream} of migration ${migration} is open already or too many`,
      );
    }
    return (connection) => {
      if (this.#welcome !== welcome) {
        throw new MigrationError('wrong-state', `migration ${migration} was given up meanwhile`);
      }
      welcome.open.set(stream, connection);
      receivePages(connection, stream, welcome.request.sink, `node ${from}`, (error) =>
        fail(error ?? this.#ended(stream)),
      );
    };
  }

  /** Resolves once nothing more can be written by streams that this side has opened. */
  async seal(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.seal()));
  }

  /** Ends the streams and takes no more. */
  close(): void {
    this.#closing.abort(new MigrationError('cancelled', 'the page streams are not needed any more'));
    const open = this.#welcome?.open;
    this.#welcome = null;
    for (const connection of open?.values() ?? []) connection.close(CLOSE_DONE, 'the migration has ended');
    for (const lane of this.#lanes) lane.close();
    this.#lanes = [];
  }

  /** All of them or none. */
  async #dial(
    source: { url: string; token: string },
    request: StreamsRequest,
    signal: AbortSignal,
  ): Promise<void> {
    const { migration, from, tls: credentials } = this.#context;
    const tls = credentials && { credentials, node: from };
    const opening = Array.from({ length: request.streams }, (_, stream) =>
      this.#openLane(
        { ...source, peer: `node ${from}`, tls, migrationId: migration, stream },
        request,
        signal,
      ),
    );
    const settled = await Promise.allSettled(opening);
    const lanes = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const failed = settled.find((result) => result.status === 'rejected');
    if (!failed && !signal.aborted) {
      this.#lanes = lanes;
      return;
    }
    for (const lane of lanes) lane.close();
    throw failed ? failed.reason : signal.reason;
  }

  /** The first stream, which carries the device state as well, is read here, and so are all where memory can't be shared. */
  #openLane(address: LaneAddress, request: StreamsRequest, signal: AbortSignal): Promise<PageLane> {
    const { fail, threads } = this.#context;
    const { memory, sink, roundEndElsewhere, heardElsewhere, verify } = request;
    const ended = (error: MigrationError | null) => fail(error ?? this.#ended(address.stream));
    const regions = address.stream === 0 ? null : memory.handles;
    if (regions === null) return openLane(address, memory, sink, ended, signal);
    return threads.open(
      { ...address, regions, verify, applied: memory.appliedBuffers },
      { roundEnd: roundEndElsewhere, heard: heardElsewhere, ended },
      signal,
    );
  }

  #ended(stream: number): MigrationError {
    return new MigrationError('link-lost', `node ${this.#context.from} closed page stream ${stream}`);
  }
}

export function notExpected(): MigrationError {
  return new MigrationError('not-found', 'no migration of that id expects pages with that token');
}
