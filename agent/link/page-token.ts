import { randomBytes, timingSafeEqual } from 'node:crypto';

/** Header of the request that opens a page connection. */
export const PAGE_TOKEN_HEADER = 'x-vmferry-token';

/** 256 bits, so that it cannot be guessed. */
const TOKEN_BYTES = 32;

/** The secret of one migration that its page connections must show. */
export function newPageToken(): string {
  return randomBytes(TOKEN_BYTES).toString('base64url');
}

/** Whether `shown` is the token, in a time that does not tell how much of it is right. */
export function isPageToken(token: string, shown: string): boolean {
  const expected = Buffer.from(token);
  const actual = Buffer.from(shown);
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}
