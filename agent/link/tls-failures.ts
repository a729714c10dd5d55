import type { Server } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { MigrationError } from '../../shared/errors.js';
import { tlsReason } from '../../shared/tls/tls-reason.js';

/** Between two reports: who can't even connect must not fill the log. ms */
const REPORT_EVERY_MS = 1000;

/** Reports connections whose TLS handshake failed: each second one, and how many there were since the last. */
export function reportTlsFailures(
  server: Server,
  report: (error: MigrationError, remote: string, count: number) => void,
  now: () => number = () => performance.now(),
): void {
  let reportedAt = -Infinity;
  let count = 0;
  server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
    count += 1;
    if (now() - reportedAt < REPORT_EVERY_MS) return;
    reportedAt = now();
    const { code, message } = error as NodeJS.ErrnoException;
    const words = tlsReason(error) ?? (code === undefined ? message : `${message} (${code})`);
    report(
      new MigrationError('unauthenticated', `a connection failed before it was secure: ${words}`),
      socket.remoteAddress ?? 'unknown address',
      count,
    );
    count = 0;
  });
}
