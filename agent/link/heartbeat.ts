import { HEARTBEAT_INTERVAL_MS, HEARTBEAT_TIMEOUT_MS } from '../../shared/protocol/heartbeat-times.js';
import type { Timers } from '../../shared/timers.js';

export { HEARTBEAT_INTERVAL_MS, HEARTBEAT_TIMEOUT_MS };

export interface HeartbeatOptions {
  intervalMs?: number;
  timeoutMs?: number;
}

export interface HeartbeatSubject {
  ping(): void;
  /** Grows with whatever is heard of the peer, parts of messages included. */
  bytesHeard(): number;
  /** True while this side does not read, and so cannot hear. */
  deaf(): boolean;
  silent(timeoutMs: number): void;
}

/**
 * Pings the peer and tells when it has fallen silent. Silence is counted in intervals that passed without news, not by
 * the clock: an agent that was itself stopped for a while has missed one interval and not ten.
 * Returns how to end it.
 */
export function startHeartbeat(
  subject: HeartbeatSubject,
  timers: Timers,
  { intervalMs = HEARTBEAT_INTERVAL_MS, timeoutMs = HEARTBEAT_TIMEOUT_MS }: HeartbeatOptions = {},
): () => void {
  let heard = subject.bytesHeard();
  let silentMs = 0;
  let cancel: () => void;
  const beat = () => {
    const now = subject.bytesHeard();
    silentMs = now === heard && !subject.deaf() ? silentMs + intervalMs : 0;
    heard = now;
    if (silentMs >= timeoutMs) {
      subject.silent(timeoutMs);
      return;
    }
    subject.ping();
    cancel = timers.after(intervalMs, beat);
  };
  cancel = timers.after(intervalMs, beat);
  return () => cancel();
}
