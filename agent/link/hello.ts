import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { errorToCloseCode } from '../../shared/protocol/close-codes.js';
import { PROTOCOL_VERSIONS, type SourceMessage, type TargetMessage } from '../../shared/protocol/messages.js';
import { connectionError } from './connection-end.js';
import { errorMessage } from './error-message.js';
import type { ControlChannel, SourceControl, TargetControl } from './link.js';
import { systemTimers, type Timers } from '../../shared/timers.js';

/** Time within which the opening handshake must be done; bounds how long a silent peer holds a connection. ms */
export const HANDSHAKE_TIMEOUT_MS = 5000;

/** Versions of the protocol that a side speaks. */
export interface VersionRange {
  readonly min: number;
  readonly max: number;
}

interface HandshakeOptions {
  /** Id of this node. */
  node: string;
  /** This agent's name and version, for the peer's log. */
  agent: string;
  /** Features that this side offers beyond the version's. */
  features?: readonly string[];
  versions?: VersionRange;
  timeoutMs?: number;
  timers?: Timers;
}

export interface TargetHandshakeOptions extends HandshakeOptions {
  /** The node that the connection is certified for: none but it may say hello. Null: there is no TLS. */
  certified?: string | null;
}

export interface SourceHandshakeOptions extends HandshakeOptions {
  /** Id of the node that must answer. */
  to: string;
  migrationId: string;
  signal?: AbortSignal;
}

/** What both sides know after the handshake. */
export interface Handshake {
  /** The highest version that both speak. */
  version: number;
  /** What both offered. */
  features: string[];
  peer: { node: string; agent: string };
  migrationId: string;
}

/**
 * The source's part: says hello and waits for the welcome. Throws version-unsupported, wrong-node, bad-message,
 * unexpected-message, timeout, link-lost or what the target answered; the connection is closed then.
 */
export async function greetTarget(
  control: SourceControl,
  options: SourceHandshakeOptions,
): Promise<Handshake> {
  const { node, to, agent, migrationId, features = [], versions = PROTOCOL_VERSIONS } = options;
  return handshake(control, to, options, options.signal, async (hear) => {
    await control.send({
      type: 'hello',
      versions: { ...versions },
      node,
      to,
      agent,
      features: [...features],
      migrationId,
    });
    const answer: TargetMessage = await hear();
    if (answer.type === 'error') throw new MigrationError(answer.code, answer.message);
    if (answer.type !== 'welcome') throw unexpected(to, answer.type, 'welcome');
    if (answer.node !== to) throw wrongNode(answer.node, to);
    if (answer.version < versions.min || answer.version > versions.max) {
      throw new MigrationError(
        'version-unsupported',
        `${to} chose protocol version ${answer.version}: this agent offered ${rangeText(versions)}`,
      );
    }
    const unknown = answer.features.filter((feature) => !features.includes(feature));
    if (unknown.length > 0) {
      throw new MigrationError(
        'bad-message',
        `${to} chose features that were not offered: ${unknown.join(', ')}`,
      );
    }
    return {
      version: answer.version,
      features: answer.features,
      peer: { node: answer.node, agent: answer.agent },
      migrationId,
    };
  });
}

/**
 * The target's part: waits for hello and answers welcome, or an error that it also throws (version-unsupported,
 * wrong-node, same-node, peer-untrusted, unexpected-message, timeout, link-lost); the connection is closed then.
 */
export async function welcomeSource(
  control: TargetControl,
  options: TargetHandshakeOptions,
): Promise<Handshake> {
  const { node, agent, features = [], versions = PROTOCOL_VERSIONS, certified = null } = options;
  return handshake(control, 'the source', options, undefined, async (hear) => {
    try {
      const hello: SourceMessage = await hear();
      if (hello.type !== 'hello') throw unexpected('the source', hello.type, 'hello');
      if (certified !== null && hello.node !== certified) {
        throw new MigrationError(
          'peer-untrusted',
          `the source says that it is node ${hello.node}, and its certificate is that of node ${certified}: ` +
            'give each agent the certificate of its own node',
        );
      }
      if (hello.to !== node) throw wrongNode(node, hello.to);
      if (hello.node === node) {
        throw new MigrationError('same-node', `node ${node} cannot be both source and target`);
      }
      const version = Math.min(versions.max, hello.versions.max);
      if (version < versions.min || version < hello.versions.min) {
        throw new MigrationError(
          'version-unsupported',
          `${node} speaks protocol ${rangeText(versions)} and ${hello.node} ${rangeText(hello.versions)}: ` +
            'update the older agent',
        );
      }
      const common = [...new Set(hello.features)].filter((feature) => features.includes(feature));
      await control.send({ type: 'welcome', version, node, agent, features: common });
      return {
        version,
        features: common,
        peer: { node: hello.node, agent: hello.agent },
        migrationId: hello.migrationId,
      };
    } catch (error) {
      if (error instanceof MigrationError && error.code !== 'link-lost') {
        // the close says the same; the message has room for all of the reason
        control.send(errorMessage(error)).catch(() => undefined);
      }
      throw error;
    }
  });
}

/** Runs `talk` with a way to hear the next message; ends it at the timeout, at the end of the connection, on abort. */
async function handshake<Out, In>(
  control: ControlChannel<Out, In>,
  peer: string,
  options: { timeoutMs?: number; timers?: Timers },
  signal: AbortSignal | undefined,
  talk: (hear: () => Promise<In>) => Promise<Handshake>,
): Promise<Handshake> {
  const { timeoutMs = HANDSHAKE_TIMEOUT_MS, timers = systemTimers } = options;
  const cleanups: (() => void)[] = [];
  const interrupted = new Promise<never>((_resolve, reject) => {
    const late = `${peer} did not finish the handshake within ${timeoutMs} ms`;
    cleanups.push(timers.after(timeoutMs, () => reject(new MigrationError('timeout', late))));
    control.onClose((end) => reject(connectionError(end, peer)));
    if (signal) {
      const abort = () => reject(toAbortError(signal));
      signal.addEventListener('abort', abort, { once: true });
      cleanups.push(() => signal.removeEventListener('abort', abort));
      if (signal.aborted) abort();
    }
  });
  // one message only: what follows it is for whoever takes the channel over, and stays in its backlog until then
  const heard = () =>
    new Promise<In>((resolve) => {
      const remove = control.onMessage((message) => {
        remove();
        resolve(message);
      });
      cleanups.push(remove);
    });
  try {
    return await Promise.race([talk(heard), interrupted]);
  } catch (thrown) {
    const error = toMigrationError(thrown);
    control.close(errorToCloseCode(error.code), error.message);
    throw error;
  } finally {
    for (const cleanup of cleanups) cleanup();
  }
}

function toAbortError(signal: AbortSignal): MigrationError {
  return toMigrationError(signal.reason, 'cancelled');
}

function wrongNode(found: string, wanted: string): MigrationError {
  return new MigrationError(
    'wrong-node',
    `node ${found} answers where ${wanted} was meant: correct the peer's address in the configuration`,
  );
}

function unexpected(peer: string, type: string, wanted: string): MigrationError {
  return new MigrationError('unexpected-message', `${peer} sent ${type} where ${wanted} was due`);
}

function rangeText({ min, max }: VersionRange): string {
  return min === max ? `version ${min}` : `versions ${min} to ${max}`;
}
