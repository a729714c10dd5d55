import { isErrorCode, type ErrorCode } from '../errors.js';

/**
 * Close codes of the peer link: why a connection was ended, in the range that WebSocket (RFC 6455, 7.4.2) leaves to
 * applications. One for each error code, never renumbered; the close reason is the error's message, cut short.
 */
export const CLOSE_CODES = {
  'bad-frame': 4001,
  'bad-message': 4002,
  'out-of-range': 4003,
  'unexpected-message': 4004,
  'limit-exceeded': 4005,
  'version-unsupported': 4006,
  'wrong-node': 4007,
  'link-lost': 4008,
  'peer-unreachable': 4009,
  'peer-failed': 4010,
  timeout: 4011,
  cancelled: 4012,
  'too-late': 4013,
  'shutting-down': 4014,
  internal: 4015,
  'peer-untrusted': 4016,
  'lock-lost': 4020,
  'not-converging': 4021,
  'verify-mismatch': 4022,
  'guest-failed': 4023,
  'load-failed': 4024,
  'outcome-unknown': 4025,
  'verify-incomplete': 4026,
  'tracking-failed': 4027,
  'unknown-node': 4030,
  'same-node': 4031,
  'target-has-guest': 4032,
  'target-out-of-memory': 4033,
  'unsupported-guest': 4034,
  'unsupported-option': 4035,
  'duplicate-migration': 4036,
  'preflight-refused': 4037,
  'refused-by-policy': 4038,
  'pair-busy': 4039,
  'invalid-request': 4040,
  'invalid-definition': 4041,
  'invalid-image': 4042,
  'not-found': 4043,
  'name-taken': 4044,
  'wrong-state': 4045,
  unauthenticated: 4046,
  'not-allowed': 4047,
  'node-drained': 4048,
} as const satisfies Record<ErrorCode, number>;

/** The connection has served its purpose. */
export const CLOSE_DONE = 1000;

/** Never sent: what this side sees where a connection broke without a close. */
export const CLOSE_BROKEN = 1006;

const ERROR_OF_CLOSE = new Map<number, ErrorCode>(
  Object.entries(CLOSE_CODES).flatMap(([error, code]) =>
    isErrorCode(error) ? [[code, error] as [number, ErrorCode]] : [],
  ),
);

/** Close codes of WebSocket itself with which the library below, or a proxy between the agents, can end a connection. */
const ERROR_OF_STANDARD_CLOSE = new Map<number, ErrorCode>([
  [1001, 'shutting-down'],
  [1002, 'bad-message'],
  [1003, 'bad-message'],
  [1005, 'link-lost'],
  [CLOSE_BROKEN, 'link-lost'],
  [1007, 'bad-message'],
  [1008, 'bad-message'],
  [1009, 'bad-message'],
  [1011, 'internal'],
]);

/** What a connection that ended with `code` means: null for an end in good order, peer-failed if it is unknown. */
export function closeCodeToError(code: number): ErrorCode | null {
  if (code === CLOSE_DONE) return null;
  return ERROR_OF_CLOSE.get(code) ?? ERROR_OF_STANDARD_CLOSE.get(code) ?? 'peer-failed';
}

/** The code to end a connection with because of `error`; null: all is well. */
export function errorToCloseCode(error: ErrorCode | null): number {
  return error === null ? CLOSE_DONE : CLOSE_CODES[error];
}

/** RFC 6455, 5.5: control frames carry at most 125 bytes, of which two are the code. */
export const MAX_CLOSE_REASON_BYTES = 123;

/** `text` cut to what a close frame can carry, between characters. */
export function closeReason(text: string): string {
  if (Buffer.byteLength(text) <= MAX_CLOSE_REASON_BYTES) return text;
  const cut = Buffer.from(text).subarray(0, MAX_CLOSE_REASON_BYTES);
  // streaming: an incomplete character at the end is held back instead of replaced
  return new TextDecoder().decode(cut, { stream: true });
}
