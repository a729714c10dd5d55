import { MAX_IMAGE_BYTES } from '../../shared/guest-definition.js';

/** Bounds of what clients of the HTTP API can make an agent hold or do. */
export interface ApiLimits {
  /** Largest request body, in bytes; bounds what a request makes the agent buffer and parse. */
  readonly bodyBytes: number;
  /** The same for POST /guests, whose body brings a program image as base64. */
  readonly guestBodyBytes: number;
  /** Event streams open at once, of all clients: each holds a socket, a subscription and one event. */
  readonly eventStreams: number;
  /** Between comments on an idle event stream: finds dead clients, keeps proxies from closing it. ms */
  readonly heartbeatMs: number;
  /** A client of an event stream that reads nothing for so long is dropped. ms */
  readonly drainTimeoutMs: number;
  /** From the first byte of a request to its last; bounds how long a slow sender holds a socket. ms */
  readonly requestTimeoutMs: number;
}

const BODY_BYTES = 64 * 1024;

export const API_LIMITS: ApiLimits = {
  bodyBytes: BODY_BYTES,
  // base64: 4 characters for 3 bytes
  guestBodyBytes: Math.ceil((MAX_IMAGE_BYTES * 4) / 3) + BODY_BYTES,
  eventStreams: 256,
  heartbeatMs: 15_000,
  drainTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
};
