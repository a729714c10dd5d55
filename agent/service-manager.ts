import type { Logger } from 'pino';
import { sendToSocket } from './system/notify-socket.js';

/** What is waited for beyond the time that a shutdown may take by the configuration. ms */
const SHUTDOWN_MARGIN_MS = 30_000;

/** Longest time between two signs of life, in parts of the time after which the service manager takes the agent for hung. */
const KEEP_ALIVE_PART = 1 / 3;

/** Variables of a process's environment. */
type Environment = Record<string, string | undefined>;

/**
 * Tells the service manager what the agent does, by the protocol of sd_notify(3): a line a fact, in datagrams. Where none has started
 * the agent (no NOTIFY_SOCKET), nobody is told.
 */
export class ServiceManager {
  readonly #socket: string | undefined;
  readonly #keepAliveMs: number | null;
  readonly #logger: Logger;
  #keepAlive: NodeJS.Timeout | undefined;

  /** Takes what the service manager has said out of `environment`: it is meant for this process, not for those that it starts. */
  constructor(environment: Environment, logger: Logger) {
    this.#socket = environment['NOTIFY_SOCKET'];
    this.#keepAliveMs = keepAliveMs(environment);
    this.#logger = logger;
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete environment[name];
  }

  /** The agent serves. From here on the event loop itself shows that it turns: one that hangs says nothing. */
  ready(status: string): void {
    this.#tell({ READY: 1, STATUS: status });
    if (this.#keepAliveMs === null || this.#keepAlive) return;
    this.#keepAlive = setInterval(() => this.#tell({ WATCHDOG: 1 }), this.#keepAliveMs);
    this.#keepAlive.unref();
  }

  /** The agent reads its certificates and tokens again, and says ready() when it has. */
  reloading(): void {
    this.#tell({ RELOADING: 1, MONOTONIC_USEC: (process.hrtime.bigint() / 1000n).toString() });
  }

  /** The agent shuts down, for which it may take `maximumMs`: a limit of the unit that is shorter does not end it before. */
  stopping(maximumMs: number): void {
    this.#tell({
      STOPPING: 1,
      EXTEND_TIMEOUT_USEC: Math.ceil(maximumMs + SHUTDOWN_MARGIN_MS) * 1000,
      STATUS: 'shutting down',
    });
  }

  #tell(facts: Record<string, string | number>): void {
    if (this.#socket === undefined) return;
    const lines = Object.entries(facts).map(
      ([name, value]) => `${name}=${String(value).replaceAll('\n', ' ')}`,
    );
    try {
      sendToSocket(this.#socket, lines.join('\n'));
    } catch (error) {
      // What the service manager does then, it does by its own limits; the agent has guests to care for.
      this.#logger.warn({ err: error, lines }, 'the service manager could not be told');
    }
  }
}

/** As sd_watchdog_enabled(3): null where no signs of life are expected of this process. */
function keepAliveMs({ WATCHDOG_USEC: limit, WATCHDOG_PID: pid }: Environment): number | null {
  const microseconds = Number(limit);
  if (!(microseconds > 0) || (pid !== undefined && Number(pid) !== process.pid)) return null;
  return (microseconds / 1000) * KEEP_ALIVE_PART;
}
