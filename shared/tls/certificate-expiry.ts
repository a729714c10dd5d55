import type { PreflightFinding } from '../protocol/messages.js';
import { counted } from '../units.js';

const DAY_MS = 86_400_000;

/** Certificates that end sooner are to be renewed; of a CA all are, which takes longer. Days */
export const EXPIRY_NOTICE_DAYS = 30;
export const CA_EXPIRY_NOTICE_DAYS = 90;

/** Until when a certificate may be used, and what to do about it. `whose`: 'the certificate of node a'. */
export function expiryFinding(
  whose: string,
  expiresAt: Date,
  remedy: string,
  { noticeDays = EXPIRY_NOTICE_DAYS, now = new Date() } = {},
): PreflightFinding {
  const code = 'certificate-expires';
  const left = expiresAt.getTime() - now.getTime();
  const date = expiresAt.toISOString();
  if (left <= 0) {
    return { level: 'refusal', code, message: `${whose} expired on ${date}: nobody accepts it`, remedy };
  }
  const days = Math.floor(left / DAY_MS);
  const message = `${whose} expires on ${date}, in ${counted(days, 'day')}`;
  return days < noticeDays
    ? { level: 'warning', code, message, remedy }
    : { level: 'ok', code: 'certificate', message };
}
