import { delay, systemTimers } from '../../../../shared/timers.js';
import { QmpConnection, type QmpConnectOptions } from './qmp-connection.js';
import { QmpConnectionError } from './qmp-errors.js';

/** Between two tries. ms */
const TRY_MS = 3;

/** It does not listen yet; or it has ended, which is better told by how. */
const PASSING: ReadonlySet<string> = new Set(['absent', 'lost']);

/**
 * Connects to a QEMU that is being started: it makes its socket when it comes to that. Rejects as `ended` does, which tells how
 * QEMU has ended, and with the QmpConnectionError of one that has a socket and hangs, or says what it should not.
 */
export async function connectStarting(
  path: string,
  ended: Promise<never>,
  options: QmpConnectOptions = {},
): Promise<QmpConnection> {
  // It ends after the last question too.
  ended.catch(() => undefined);
  for (;;) {
    try {
      return await QmpConnection.connect(path, options);
    } catch (error) {
      if (!(error instanceof QmpConnectionError && PASSING.has(error.end))) throw error;
      await Promise.race([ended, delay(systemTimers, TRY_MS)]);
    }
  }
}
