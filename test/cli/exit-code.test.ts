import t from 'tap';
import { EXIT, type Outcome } from '../../shared/api.js';
import { ERROR_CODES, MigrationError, type ErrorCode } from '../../shared/errors.js';
import {
  exitCodeOfError,
  exitCodeOfPreflight,
  exitCodeOfRefusedStart,
  exitCodeOfResult,
} from '../../scripts/cli/exit-code.js';
import { migrationResult } from '../support/api-samples.js';

const body = (code: ErrorCode) => new MigrationError(code, 'why').toJSON();
const codes = Object.keys(ERROR_CODES) as ErrorCode[];
const withExit = (exit: (code: ErrorCode) => number, wanted: number): ErrorCode[] =>
  codes.filter((code) => exit(code) === wanted);

await t.test('errors of a command', (t) => {
  const exit = (code: ErrorCode) => exitCodeOfError(body(code));
  t.same(withExit(exit, EXIT.usage), ['invalid-request', 'invalid-definition', 'invalid-image']);
  t.same(withExit(exit, EXIT.refused), [
    'not-found',
    'unknown-node',
    'same-node',
    'target-has-guest',
    'target-out-of-memory',
    'unsupported-guest',
    'preflight-refused',
    'refused-by-policy',
    'unsupported-option',
    'node-drained',
  ]);
  t.same(withExit(exit, EXIT.cancelled), ['cancelled']);
  t.same(withExit(exit, EXIT.unknown), ['outcome-unknown']);
  t.same(withExit(exit, EXIT.done), [], 'no error is a success');
  t.end();
});

await t.test('a refused start of a migration', (t) => {
  const exit = (code: ErrorCode) => exitCodeOfRefusedStart(body(code));
  t.same(
    withExit(exit, EXIT.refused).sort(),
    [
      'not-found',
      'wrong-state',
      'unknown-node',
      'same-node',
      'node-drained',
      'target-has-guest',
      'target-out-of-memory',
      'unsupported-guest',
      'preflight-refused',
      'refused-by-policy',
      'unsupported-option',
      'duplicate-migration',
    ].sort(),
  );
  t.same(withExit(exit, EXIT.unknown).sort(), ['link-lost', 'outcome-unknown']);
  t.equal(exit('peer-unreachable'), EXIT.failed, 'nothing was asked of an agent that was not reached');
  t.end();
});

await t.test('results', (t) => {
  const exit = (outcome: Outcome, code?: ErrorCode) =>
    exitCodeOfResult(migrationResult({ outcome, error: code === undefined ? null : body(code) }));
  t.equal(exit('completed'), EXIT.done);
  t.equal(exit('completed', 'verify-mismatch'), EXIT.failed, 'memory differs: no success');
  t.equal(
    exitCodeOfResult(migrationResult({ verify: { mode: 'after', pagesChecked: 9, mismatches: 1 } })),
    EXIT.failed,
  );
  t.equal(exit('cancelled', 'cancelled'), EXIT.cancelled);
  t.equal(exit('unknown', 'outcome-unknown'), EXIT.unknown);
  t.equal(exit('failed', 'link-lost'), EXIT.failed, 'a link that the agents lost is no unknown outcome');
  t.equal(exit('failed', 'target-has-guest'), EXIT.refused);
  t.equal(
    exit('failed', 'not-found'),
    EXIT.failed,
    'that is what a peer said of the link: no name was unknown',
  );
  const report = { vm: 'v', from: 'a', to: 'b', findings: [] };
  t.equal(exitCodeOfPreflight({ ...report, ok: true }), EXIT.done);
  t.equal(exitCodeOfPreflight({ ...report, ok: false }), EXIT.refused);
  t.end();
});
