import { availableParallelism } from 'node:os';
import type { MigrationOptions } from '../../shared/api.js';
import type { NodeAddress } from '../node-address.js';
import { TCP_PAGES_FEATURE } from '../link/link-paths.js';
import type { Guest } from '../guest/guest.js';
import type { Connection } from '../link/connection.js';
import { StreamedPageSender } from '../link/page-sender.js';
import type { SendingThreads } from '../link/sending-threads.js';
import type { PageOffers } from './page-offers.js';
import type { PeerDialer } from './peer-dialer.js';
import type { AgreedPages } from './source-context.js';
import { streamsToOpen } from './stream-choice.js';

/** What page streams to a target are opened with. */
export interface PagesContext {
  readonly id: string;
  readonly from: string;
  readonly to: NodeAddress;
  /** What both agents can do beyond the protocol's version. */
  readonly features: readonly string[];
  readonly offers: PageOffers;
  readonly dialer: PeerDialer;
  readonly sendingThreads: SendingThreads;
}

/** Page streams that are about to be opened, by whichever side. */
export interface PagesToOpen {
  readonly streams: number;
  /** What the target must show to open them here, over TCP; null where it can't. */
  readonly token: string | null;
  /** Once it is agreed how: those that the target has opened, or new ones over WebSocket. */
  open(agreed: AgreedPages, signal: AbortSignal): Promise<StreamedPageSender>;
  /** Lets the target open none any more. Harmless when repeated. */
  withdraw(): void;
}

/** Makes the streams of one migration welcome here, if the target can open them. */
export function openPages(
  { id, to, features, offers, dialer, sendingThreads }: PagesContext,
  guest: Pick<Guest, 'regions' | 'writeLog'>,
  wanted: MigrationOptions['streams'],
  bandwidthBytesPerSecond: number,
): PagesToOpen {
  const peer = `node ${to.node}`;
  const streams = streamsToOpen(wanted, availableParallelism());
  // The first stream is sent by this thread, and so are all where what is sent is a copy that this thread makes.
  const threaded = (connection: Connection, stream: number) =>
    stream === 0 || guest.writeLog.capture
      ? Promise.resolve(connection)
      : sendingThreads.adopt(connection, guest.regions, peer);
  const offer = features.includes(TCP_PAGES_FEATURE) ? offers.offer(id, streams, to.node) : null;
  return {
    streams,
    token: offer?.token ?? null,
    withdraw: () => offer?.withdraw(),
    async open({ transport, token }, signal) {
      const opened = transport === 'tcp' ? offer?.take() : undefined;
      offer?.withdraw();
      const connections = opened
        ? await Promise.all(opened.map((connection, stream) => threaded(connection, stream)))
        : await dialer.pages(to, id, streams, token, signal);
      return new StreamedPageSender(connections, { peer, signal, bandwidthBytesPerSecond });
    },
  };
}
