import { MAX_IMAGE_BYTES } from '../../shared/guest-definition.js';
import type { ConnectionLimits } from '../admission/connections.js';

/** Bounds of what clients of the HTTP API can make an agent hold or do. */
export interface ApiLimits extends ConnectionLimits {
  /** Largest request body, in bytes; bounds what a request makes the agent buffer and parse. */
  readonly bodyBytes: number;
  /** The same for POST /guests, whose body brings a program image as base64. */
  readonly guestBodyBytes: number;
  /** Requests with a body above `bodyBytes` under way at once: each may hold several times its size. */
  readonly largeBodies: number;
  /** Headers of a request, its URL included, in bytes. */
  readonly headerBytes: number;
  /** Event streams open at once, of all clients: each holds a socket, a subscription and one event. */
  readonly eventStreams: number;
  /** The same of one remote address, so that one client leaves some to the others. */
  readonly eventStreamsPerAddress: number;
  /** Preflights under way at once: each asks another agent, and may look at processes and files of this host. */
  readonly preflights: number;
  /** The same of one remote address. */
  readonly preflightsPerAddress: number;
  /** Most of a console that one answer has; the rest is asked for by its position. bytes */
  readonly consoleBytes: number;
  /** Between comments on an idle event stream: finds dead clients, keeps proxies from closing it. ms */
  readonly heartbeatMs: number;
  /** A client of an event stream that reads nothing for so long is dropped. ms */
  readonly drainTimeoutMs: number;
  /** From the connection, or the first byte of a later request, until its headers are complete. ms */
  readonly headersTimeoutMs: number;
  /** From the first byte of a request to its last; bounds how long a slow sender holds a socket. ms */
  readonly requestTimeoutMs: number;
  /** How often these two are looked at. ms */
  readonly timeoutCheckMs: number;
  /** A connection that is kept for a next request is closed after that. ms */
  readonly keepAliveMs: number;
}

const BODY_BYTES = 64 * 1024;

export const API_LIMITS: ApiLimits = {
  bodyBytes: BODY_BYTES,
  // base64: 4 characters for 3 bytes
  guestBodyBytes: Math.ceil((MAX_IMAGE_BYTES * 4) / 3) + BODY_BYTES,
  largeBodies: 4,
  headerBytes: 16 * 1024,
  connections: 1024,
  connectionsPerAddress: 320,
  refusedConnections: 64,
  refusalMs: 1000,
  responseTimeoutMs: 60_000,
  eventStreams: 256,
  eventStreamsPerAddress: 192,
  preflights: 32,
  preflightsPerAddress: 16,
  consoleBytes: 256 * 1024,
  heartbeatMs: 15_000,
  drainTimeoutMs: 10_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  timeoutCheckMs: 1000,
  keepAliveMs: 72_000,
};
