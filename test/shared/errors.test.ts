import t from 'tap';
import {
  ERROR_CODES,
  type ErrorCode,
  isErrorCode,
  MigrationError,
  toMigrationError,
} from '../../shared/errors.js';

void t.test('every code', (t) => {
  for (const [code, { retryable, status, means }] of Object.entries(ERROR_CODES)) {
    t.match(code, /^[a-z]+(-[a-z]+)*$/);
    t.ok(status >= 400 && status < 600, `${code}: an HTTP status of a failure`);
    t.ok(means.length > 0 && !means.endsWith('.'), `${code}: says what it means`);
    t.ok(isErrorCode(code));
    const error = new MigrationError(code as ErrorCode, 'why');
    t.strictSame(error.toJSON(), { code, message: 'why', retryable });
  }
  t.end();
});

void t.test('no other text is a code', (t) => {
  for (const text of ['', 'nonsense', 'toString', '__proto__', 'constructor'])
    t.notOk(isErrorCode(text), text);
  t.end();
});

void t.test('whatever is thrown becomes one', (t) => {
  const error = new MigrationError('timeout', 'too slow');
  t.equal(toMigrationError(error), error, 'one that is one already stays as it is');
  const cause = new TypeError('x is no function');
  const converted = toMigrationError(cause);
  t.match(converted, { code: 'internal', message: 'x is no function', retryable: false });
  t.equal(converted.cause, cause);
  t.match(toMigrationError(cause, 'link-lost'), { code: 'link-lost', retryable: true });
  t.match(toMigrationError('just text'), { code: 'internal', message: 'just text', cause: 'just text' });
  t.match(toMigrationError(undefined), { code: 'internal', message: 'undefined' });
  t.end();
});

void t.test('an error without a cause has none', (t) => {
  t.notOk('cause' in new MigrationError('internal', 'why'));
  t.end();
});
