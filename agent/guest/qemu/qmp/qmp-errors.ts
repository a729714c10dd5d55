import { MigrationError } from '../../../../shared/errors.js';

/**
 * QEMU refused a command. `class` is QMP's error class: 'GenericError', 'CommandNotFound', 'DeviceNotFound',
 * 'DeviceNotActive', 'KVMMissingCap'; `desc` is QEMU's own text, for people alone.
 */
export class QmpError extends MigrationError {
  readonly class: string;
  readonly desc: string;
  readonly command: string;

  constructor(command: string, errorClass: string, desc: string) {
    super('guest-failed', `QEMU refused ${command}: ${desc} (${errorClass})`);
    this.name = 'QmpError';
    this.class = errorClass;
    this.desc = desc;
    this.command = command;
  }
}

/** QEMU did not answer in time. Whether it has carried out, or will yet carry out, what was asked is not known. */
export class QmpTimeoutError extends MigrationError {
  constructor(what: string, timeoutMs: number) {
    super('timeout', `QEMU gave no ${what} within ${timeoutMs} ms: it hangs, or its host is overloaded`);
    this.name = 'QmpTimeoutError';
  }
}

/**
 * Why there is no connection:
 * - 'absent': nothing listens at the path, QEMU has not started or is gone;
 * - 'silent': something listens and does not greet;
 * - 'protocol': what came is not QMP;
 * - 'lost': QEMU ended the connection, or is gone;
 * - 'closed': this side closed it.
 */
export type QmpEnd = 'absent' | 'silent' | 'protocol' | 'lost' | 'closed';

/** There is no connection to QEMU, or no longer one. */
export class QmpConnectionError extends MigrationError {
  readonly end: QmpEnd;

  constructor(end: QmpEnd, message: string, options: { cause?: unknown } = {}) {
    super('guest-failed', message, options);
    this.name = 'QmpConnectionError';
    this.end = end;
  }
}
