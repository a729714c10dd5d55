import { type DestinationStream, type Logger, pino } from 'pino';
import type { AgentConfig } from '../shared/config.js';

/** Fields in which a secret could come into the log by mistake. None of the agent's lines is known to have one. */
const SECRET_FIELDS = ['token', 'pageToken', 'key', 'authorization'].flatMap((field) => [
  field,
  `*.${field}`,
  `*.*.${field}`,
  `*.*.*.${field}`,
]);

/** The agent's log: lines of JSON with its node, and with no secrets. */
export function createLogger(
  { node, log }: Pick<AgentConfig, 'node' | 'log'>,
  destination: DestinationStream,
): Logger {
  return pino(
    {
      level: log.level,
      base: { node },
      redact: { paths: SECRET_FIELDS, censor: '[secret]' },
    },
    destination,
  );
}
