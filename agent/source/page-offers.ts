import { MigrationError } from '../../shared/errors.js';
import { CLOSE_DONE } from '../../shared/protocol/close-codes.js';
import type { Connection } from '../link/connection.js';
import { isPageToken, newPageToken } from '../link/page-token.js';

/** The page streams that the target of one migration may open here. */
export interface PageOffer {
  readonly token: string;
  /** Those that it has opened, in the order of their numbers. Throws link-lost if one has ended, peer-failed if one never was. */
  take(): Connection[];
  /** Lets no more in, and ends those that were not taken. Harmless when repeated. */
  withdraw(): void;
}

interface Offer {
  readonly token: string;
  /** The node that may open them. */
  readonly node: string;
  readonly connections: (Connection | undefined)[];
  /** Streams that were open and have ended. */
  readonly ended: Set<number>;
}

/** The page streams that the targets of this node's migrations may open here, over TCP. */
export class PageOffers {
  readonly #offers = new Map<string, Offer>();

  /** Makes `streams` of them welcome, of the target `node`. */
  offer(migrationId: string, streams: number, node: string): PageOffer {
    const connections = Array.from({ length: streams }, () => undefined);
    const offer: Offer = { token: newPageToken(), node, connections, ended: new Set() };
    this.#offers.set(migrationId, offer);
    return {
      token: offer.token,
      take: () => {
        this.#offers.delete(migrationId);
        const opened = offer.connections.filter((connection) => connection !== undefined);
        if (opened.length < streams) {
          // Those that are open stay with the offer, which is withdrawn.
          throw missing(offer);
        }
        offer.connections.length = 0;
        return opened;
      },
      withdraw: () => {
        this.#offers.delete(migrationId);
        for (const connection of offer.connections.splice(0)) connection?.close(CLOSE_DONE, 'not used');
      },
    };
  }

  /**
   * For LinkServer: who takes a stream over that was opened; `peer`: the node that it is certified for, null without TLS. Throws
   * not-found or wrong-state.
   */
  authorize(migrationId: string, stream: number, token: string, peer: string | null) {
    const offer = this.#offers.get(migrationId);
    const foreign = peer !== null && peer !== offer?.node;
    if (!offer || foreign || !isPageToken(offer.token, token)) {
      throw new MigrationError('not-found', 'no migration of that id offers pages for that token');
    }
    if (stream >= offer.connections.length || offer.connections[stream]) {
      const text = `page stream ${stream} of migration ${migrationId} is open already or too many`;
      throw new MigrationError('wrong-state', text);
    }
    return (connection: Connection) => {
      offer.connections[stream] = connection;
      connection.onClose(() => {
        if (offer.connections[stream] !== connection) return;
        offer.connections[stream] = undefined;
        offer.ended.add(stream);
      });
    };
  }
}

/** A stream that has ended is a link that was lost: why, the target may be about to say. */
function missing({ node, connections, ended }: Offer): MigrationError {
  const peer = `node ${node}`;
  const stream = connections.indexOf(undefined);
  return ended.has(stream)
    ? new MigrationError('link-lost', `page stream ${stream} to ${peer} has ended before it was used`)
    : new MigrationError(
        'peer-failed',
        `${peer} said that it has opened the page streams, and stream ${stream} is not open`,
      );
}
