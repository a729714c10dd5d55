import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { parse } from 'yaml';
import { AgentConfigSchema } from '../shared/config.js';
import { MigrationError } from '../shared/errors.js';
import { validate } from '../shared/validate.js';
import { Agent } from './agent.js';
import { LogOutput } from './log-output.js';
import { createLogger } from './logger.js';
import { giveBackFreedMemory } from './system/give-back-freed-memory.js';

/** Its descriptor; the stream of Node.js would be asynchronous. */
const STDOUT = 1;

/**
 * The daemon: reads its configuration, serves until SIGTERM or SIGINT, shuts down in order. Resolves with the exit code.
 * Throws invalid-request for a configuration that is wrong. A second signal ends the process at once.
 */
export async function runAgent(configFile: string): Promise<number> {
  // Whatever this process makes, and the QEMUs that it starts, is for its user alone: consoles and sockets, too.
  process.umask(0o077);
  const config = await readConfig(configFile);
  // Log lines go to standard output as JSON, one a line.
  const output = new LogOutput(STDOUT, (linesLost) =>
    logger.warn(
      { linesLost },
      'the log could not be written for a while: lines of it are missing before the last one',
    ),
  );
  const logger: Logger = createLogger(config, output);
  // A defect, but ending the process would end guests that have nothing to do with it.
  process.on('unhandledRejection', (error) =>
    logger.error({ err: error }, 'unhandled rejection: please report it'),
  );
  giveBackFreedMemory();
  const agent = await Agent.start(config, logger);
  agent.warmUp();
  process.on('SIGHUP', () => {
    try {
      agent.reloadCredentials();
    } catch (error) {
      logger.error({ err: error }, 'certificates and tokens could not be read again: the former ones stay');
    }
  });
  await new Promise<void>((resolve) => {
    let stopping = false;
    const stop = (signal: NodeJS.Signals) => {
      if (stopping) {
        logger.error({ signal }, 'second signal: exiting at once');
        process.exit(1);
      }
      stopping = true;
      logger.info({ signal }, 'signal received');
      resolve();
    };
    // For good, not once: what else listens for signals in this process ends it where it finds itself alone.
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
  });
  await agent.close();
  return 0;
}

async function readConfig(path: string) {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const reason = (error as Error).message;
    throw new MigrationError('invalid-request', `the configuration can't be read: ${reason}`, {
      cause: error,
    });
  }
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    const reason = (error as Error).message;
    throw new MigrationError('invalid-request', `the configuration ${path} is no YAML: ${reason}`, {
      cause: error,
    });
  }
  return validate(AgentConfigSchema, value, 'invalid-request', `the configuration ${path}`);
}
