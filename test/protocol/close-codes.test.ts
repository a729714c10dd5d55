import fc from 'fast-check';
import t from 'tap';
import { ERROR_CODES, type ErrorCode } from '../../shared/errors.js';
import {
  CLOSE_CODES,
  closeCodeToError,
  closeReason,
  errorToCloseCode,
  MAX_CLOSE_REASON_BYTES,
} from '../../shared/protocol/close-codes.js';

void t.test('each error code has one close code, and back', (t) => {
  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
    t.equal(closeCodeToError(errorToCloseCode(code)), code);
    t.ok(CLOSE_CODES[code] >= 4000 && CLOSE_CODES[code] <= 4999, 'in the range for applications');
  }
  t.equal(errorToCloseCode(null), 1000);
  t.equal(closeCodeToError(1000), null);
  t.equal(closeCodeToError(1006), 'link-lost');
  t.equal(closeCodeToError(1009), 'bad-message');
  t.equal(closeCodeToError(4999), 'peer-failed');
  t.end();
});

void t.test('a reason is cut to what a close frame carries, between characters', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
      const reason = closeReason(text);
      const longer = text.slice(0, reason.length + ((text.codePointAt(reason.length) ?? 0) > 0xffff ? 2 : 1));
      return (
        Buffer.byteLength(reason) <= MAX_CLOSE_REASON_BYTES &&
        text.startsWith(reason) &&
        (reason === text || Buffer.byteLength(longer) > MAX_CLOSE_REASON_BYTES)
      );
    }),
  );
  t.pass();
  t.end();
});
