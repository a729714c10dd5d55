import { MigrationError } from '../../shared/errors.js';
import { closeCodeToError } from '../../shared/protocol/close-codes.js';
import type { ConnectionEnd } from './connection.js';

/**
 * The end of a connection to `peer` as the error of whoever still needed it. An end in good order is link-lost for
 * them; an end with a reason keeps its code and tells which side gave it.
 */
export function connectionError(end: ConnectionEnd, peer: string): MigrationError {
  const code = closeCodeToError(end.code) ?? 'link-lost';
  const reason = end.reason === '' ? `close code ${end.code}` : end.reason;
  if (end.local) return new MigrationError(code, `connection to ${peer} was closed by this side: ${reason}`);
  if (code === 'link-lost') return new MigrationError(code, `connection to ${peer} was lost: ${reason}`);
  if (code === 'peer-failed') {
    return new MigrationError(
      code,
      `${peer} ended the connection for a reason unknown to this side: ${reason}`,
    );
  }
  return new MigrationError(code, `${peer} ended the connection: ${reason}`);
}
