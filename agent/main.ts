import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { AgentConfigSchema } from '../shared/config.js';
import { MigrationError } from '../shared/errors.js';
import { YamlDocument } from '../shared/yaml-document.js';
import { Agent } from './agent.js';
import { LogOutput } from './log-output.js';
import { createLogger } from './logger.js';
import { ServiceManager } from './service-manager.js';
import { giveBackFreedMemory } from './system/give-back-freed-memory.js';

/** Its descriptor; the stream of Node.js would be asynchronous. */
const STDOUT = 1;

/**
 * The daemon: reads its configuration, serves until SIGTERM or SIGINT, shuts down in order. Resolves with the exit code.
 * Throws invalid-request for a configuration that is wrong in itself, wrong-state where this host does not have what it names (which
 * may pass: systemd tries again). A second signal ends the process at once.
 */
export async function runAgent(configFile: string): Promise<number> {
  // Whatever this process makes, and the QEMUs that it starts, is for its user alone: consoles and sockets, too.
  process.umask(0o077);
  const document = await readConfig(configFile);
  const config = document.validate(AgentConfigSchema);
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
  const manager = new ServiceManager(process.env, logger);
  const agent = await Agent.start(config, logger).catch((error: unknown) => {
    throw ofThisHost(document.located(error));
  });
  agent.warmUp();
  const serving = `node ${config.node} serves at ${agent.url}`;
  process.on('SIGHUP', () => {
    manager.reloading();
    try {
      agent.reloadCredentials();
      manager.ready(serving);
    } catch (error) {
      const what = 'certificates and tokens could not be read again: the former ones stay';
      logger.error({ err: error }, what);
      manager.ready(`${serving}; ${what}`);
    }
  });
  manager.ready(serving);
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
  manager.stopping(config.shutdown.timeout);
  await agent.close();
  return 0;
}

function ofThisHost(error: unknown): unknown {
  if (!(error instanceof MigrationError) || error.code !== 'invalid-request') return error;
  return new MigrationError('wrong-state', error.message, { cause: error });
}

async function readConfig(path: string): Promise<YamlDocument> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const reason = (error as Error).message;
    throw new MigrationError('invalid-request', `the configuration can't be read: ${reason}`, {
      cause: error,
    });
  }
  return new YamlDocument(text, 'invalid-request', path);
}
