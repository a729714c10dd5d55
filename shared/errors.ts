/**
 * Every failure that crosses a boundary of vmferry (peer, HTTP API, command line) is a MigrationError with one
 * of these codes. `retryable`: the same request can succeed later with nothing changed by the operator.
 * `status`: HTTP status of an API call that fails with it. PROTOCOL.md lists the same table; a test compares.
 */
export const ERROR_CODES = {
  // what was asked for is wrong
  'invalid-request': { retryable: false, status: 400, means: 'a field of the request is missing or wrong' },
  'invalid-definition': { retryable: false, status: 400, means: 'the VM definition is wrong' },
  'invalid-image': {
    retryable: false,
    status: 400,
    means: 'the program image is not one that the guest can boot',
  },
  'not-found': { retryable: false, status: 404, means: 'no such VM, migration or path on this agent' },
  'name-taken': { retryable: false, status: 409, means: 'a VM of that name is defined on this agent' },
  'wrong-state': {
    retryable: false,
    status: 409,
    means: 'the VM or migration is not in a state that allows it',
  },
  unauthenticated: {
    retryable: false,
    status: 401,
    means: 'no certificate or no token that this agent knows was shown',
  },
  'not-allowed': { retryable: false, status: 403, means: 'the role of the token does not allow it' },
  // preflight and prepare
  'unknown-node': {
    retryable: false,
    status: 400,
    means: 'the node is not in the configuration of this agent',
  },
  'same-node': { retryable: false, status: 400, means: 'source and target are one node' },
  'target-has-guest': { retryable: false, status: 409, means: 'the target has a VM of that name' },
  'target-out-of-memory': {
    retryable: true,
    status: 409,
    means: "the VM's memory does not fit on the target",
  },
  'unsupported-guest': { retryable: false, status: 409, means: 'the target cannot run a guest of that kind' },
  'preflight-refused': {
    retryable: false,
    status: 409,
    means: 'something that preflight found speaks against the migration',
  },
  'refused-by-policy': {
    retryable: false,
    status: 403,
    means: "the VM's definition has something that the target's policy does not allow",
  },
  'unsupported-option': {
    retryable: false,
    status: 409,
    means: 'the peer does not know an option or feature',
  },
  'duplicate-migration': {
    retryable: false,
    status: 409,
    means: 'a migration of that id or of that VM exists',
  },
  // link and protocol
  'peer-unreachable': { retryable: true, status: 502, means: 'no connection to the peer could be made' },
  'link-lost': { retryable: true, status: 502, means: 'a connection to the peer closed or fell silent' },
  'peer-untrusted': {
    retryable: false,
    status: 502,
    means: 'a peer did not prove with a certificate which node it is',
  },
  'version-unsupported': { retryable: false, status: 502, means: 'the peers share no protocol version' },
  'wrong-node': { retryable: false, status: 502, means: 'another node answers at that address' },
  'bad-frame': { retryable: false, status: 502, means: 'a page frame breaks the format or a limit' },
  'bad-message': { retryable: false, status: 502, means: 'a control message breaks the format or a limit' },
  'out-of-range': { retryable: false, status: 502, means: 'pages or regions outside of the guest' },
  'unexpected-message': {
    retryable: false,
    status: 502,
    means: 'a valid message that the state does not allow',
  },
  'limit-exceeded': { retryable: true, status: 429, means: 'a documented limit of the agent is reached' },
  // the migration itself
  'pair-busy': {
    retryable: true,
    status: 409,
    means: 'one of the two nodes is not free, and the migration was not to wait',
  },
  'lock-lost': { retryable: true, status: 409, means: 'the pair lock was lost: its lease ran out' },
  'node-drained': { retryable: false, status: 409, means: 'the target is drained and takes no VMs' },
  'not-converging': { retryable: true, status: 409, means: 'a limit was reached and the options say cancel' },
  'verify-mismatch': { retryable: false, status: 500, means: 'memory on the target differs from the source' },
  'verify-incomplete': {
    retryable: false,
    status: 502,
    means: 'memory could not be compared to the end',
  },
  'guest-failed': { retryable: false, status: 500, means: 'the guest or its process failed' },
  'tracking-failed': {
    retryable: false,
    status: 500,
    means: "the guest's writes can't be followed, or no longer",
  },
  'load-failed': { retryable: false, status: 500, means: 'the target could not load the device state' },
  timeout: { retryable: true, status: 504, means: 'a step took longer than its limit' },
  cancelled: { retryable: false, status: 409, means: 'cancelled on request' },
  'too-late': { retryable: false, status: 409, means: 'the commit was sent: it can no longer be cancelled' },
  'outcome-unknown': {
    retryable: false,
    status: 502,
    means: 'the commit was sent and nothing was heard since',
  },
  'shutting-down': { retryable: true, status: 503, means: 'the agent is shutting down' },
  'peer-failed': {
    retryable: false,
    status: 502,
    means: 'the peer failed and gave no reason that this side knows',
  },
  internal: { retryable: false, status: 500, means: 'a defect of vmferry' },
} as const satisfies Record<string, { retryable: boolean; status: number; means: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** True if `code` is one of ERROR_CODES. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code);
}

/** The wire and JSON form of a MigrationError. */
export interface ErrorBody {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  /** Of an answer of the API alone: the field of what was sent that is wrong. */
  field?: FieldPath | undefined;
}

/** A field of a document, with all that it is in: names of fields, and places in lists from 0. */
export type FieldPath = readonly (string | number)[];

/** What an agent answered as its error, as the error that it was; one that this version does not know is peer-failed. */
export function errorFromBody(body: unknown): MigrationError {
  const { code, message, field } = (body ?? {}) as Partial<Record<keyof ErrorBody, unknown>>;
  const words = typeof message === 'string' ? message : 'the agent failed and gave no reason';
  if (typeof code === 'string' && isErrorCode(code)) {
    return new MigrationError(code, words, { field: isFieldPath(field) ? field : undefined });
  }
  return new MigrationError('peer-failed', `${words} (${String(code)})`);
}

function isFieldPath(value: unknown): value is FieldPath {
  return Array.isArray(value) && value.every((key) => typeof key === 'string' || typeof key === 'number');
}

/** A failure with a stable code. The message names the thing, the reason and, where there is one, the remedy. */
export class MigrationError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  /** What is wrong of a definition or a configuration, for whoever knows the file that it is from. */
  declare readonly field?: FieldPath;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; field?: FieldPath | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'MigrationError';
    this.code = code;
    this.retryable = ERROR_CODES[code].retryable;
    if (options.field) this.field = options.field;
  }

  toJSON(): ErrorBody {
    return { code: this.code, message: this.message, retryable: this.retryable };
  }
}

/** A finding of preflight that refuses, as the error of what it refused. */
export function refusalError(finding: {
  code: string;
  message: string;
  remedy?: string | undefined;
}): MigrationError {
  const { code, message, remedy } = finding;
  const text = remedy === undefined ? message : `${message}: ${remedy}`;
  return new MigrationError(isErrorCode(code) ? code : 'preflight-refused', text);
}

/** Any thrown value as a MigrationError; one that is none already becomes `fallback` with it as its cause. */
export function toMigrationError(thrown: unknown, fallback: ErrorCode = 'internal'): MigrationError {
  if (thrown instanceof MigrationError) return thrown;
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return outOfDescriptors(thrown, reason) ?? new MigrationError(fallback, reason, { cause: thrown });
}

/** Codes of system calls, and of threads that can't be made, where there is no descriptor left to the process or the host. */
const OUT_OF_DESCRIPTORS: readonly unknown[] = ['EMFILE', 'ENFILE', 'ERR_WORKER_INIT_FAILED'];

/** The error of what failed for want of file descriptors, with the remedy; null if `thrown` is another failure. `text`: what failed and how. */
export function outOfDescriptors(thrown: unknown, text: string): MigrationError | null {
  // a name with several addresses fails with one error for each
  const errors: unknown[] = thrown instanceof AggregateError ? thrown.errors : [thrown];
  const short = errors.some(
    (error) => error instanceof Error && 'code' in error && OUT_OF_DESCRIPTORS.includes(error.code),
  );
  if (!short) return null;
  const remedy =
    'this agent has no file descriptor left: raise its limit of open files (ulimit -n, LimitNOFILE=) and try again';
  return new MigrationError('limit-exceeded', `${text}: ${remedy}`, { cause: thrown });
}
