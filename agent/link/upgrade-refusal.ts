import { isErrorCode, MigrationError } from '../../shared/errors.js';

/**
 * The error of a peer that answered an upgrade request with something else, from the body of its answer; peer-unreachable
 * if that is no agent's.
 */
export function refusalOf(body: string, status: string, peer: string, url: string): MigrationError {
  try {
    const { error } = JSON.parse(body) as { error: { code: unknown; message: unknown } };
    if (typeof error.code === 'string' && isErrorCode(error.code)) {
      return new MigrationError(error.code, `${peer} refused: ${String(error.message).slice(0, 1000)}`);
    }
  } catch {
    // no agent's answer
  }
  return new MigrationError(
    'peer-unreachable',
    `what answers at ${url} is no vmferry agent (HTTP status ${status}): ` +
      `correct the address of ${peer} in the configuration`,
  );
}
