import { MigrationError } from '../../shared/errors.js';
import type { Credentials } from '../../shared/tls/credentials.js';
import { CLOSE_DONE } from '../../shared/protocol/close-codes.js';
import type { PreflightFinding, SourceMessage } from '../../shared/protocol/messages.js';
import type { NodeAddress } from '../node-address.js';
import type { Connection } from '../link/connection.js';
import type { Handshake } from '../link/hello.js';
import type { SourceControl } from '../link/link.js';
import { dialControl, dialPageStreams } from '../link/link-client.js';
import type { LinkSettings } from '../link/link-settings.js';
import { Conversation } from './conversation.js';

/** An answer to a question beside the migration may take this long. ms */
const QUESTION_TIMEOUT_MS = 10_000;

export type Prepare = Extract<SourceMessage, { type: 'prepare' }>;

/** Opens connections to the agents of other nodes, in the name of this one. */
export class PeerDialer {
  readonly #link: LinkSettings;
  readonly #tls: () => Credentials | null;

  /** `tls`: what this node shows now, null where there is no TLS. */
  constructor({ tls, ...link }: LinkSettings & { readonly tls: () => Credentials | null }) {
    this.#link = link;
    this.#tls = tls;
  }

  /** A control connection, past its handshake. */
  async control(
    target: NodeAddress,
    migrationId: string,
    signal: AbortSignal,
  ): Promise<{ control: SourceControl; handshake: Handshake }> {
    return await dialControl({
      ...this.#address(target, signal),
      node: this.#link.node,
      agent: this.#link.agent,
      features: this.#link.features,
      migrationId,
    });
  }

  /** The page connections of a prepared migration. */
  async pages(
    target: NodeAddress,
    migrationId: string,
    streams: number,
    token: string,
    signal: AbortSignal,
  ): Promise<Connection[]> {
    return await dialPageStreams({ ...this.#address(target, signal), migrationId, streams, token });
  }

  /** What the target knows of the outcome. */
  async askOutcome(
    target: NodeAddress,
    migrationId: string,
    signal: AbortSignal,
  ): Promise<'pending' | 'committed' | 'aborted'> {
    return await this.#question(target, migrationId, signal, async (conversation) => {
      const { outcome } = await conversation.ask({ type: 'ask' }, 'answer', QUESTION_TIMEOUT_MS);
      return outcome;
    });
  }

  /** Nothing of the guest is left here: the target need not remember its commit. Resolves once it does not. */
  async sayGoodbye(target: NodeAddress, migrationId: string, signal: AbortSignal): Promise<void> {
    await this.#question(target, migrationId, signal, (conversation) =>
      conversation.ask({ type: 'settled' }, 'forgotten', QUESTION_TIMEOUT_MS),
    );
  }

  /** What the target has to say about taking a guest; nothing is changed there. */
  async preflight(
    target: NodeAddress,
    migrationId: string,
    prepare: Omit<Prepare, 'dryRun'>,
    signal: AbortSignal,
  ): Promise<PreflightFinding[]> {
    return await this.#question(target, migrationId, signal, async (conversation) => {
      const question = { ...prepare, dryRun: true };
      const { findings } = await conversation.ask(question, 'prepared', QUESTION_TIMEOUT_MS);
      return findings;
    });
  }

  async #question<T>(
    target: NodeAddress,
    migrationId: string,
    signal: AbortSignal,
    ask: (conversation: Conversation) => Promise<T>,
  ): Promise<T> {
    const { control } = await this.control(target, migrationId, signal);
    // Its failures reject the open question; there is nobody else to tell.
    const conversation = new Conversation(control, target.node, () => undefined);
    const abort = () => conversation.end(new MigrationError('cancelled', 'the question was withdrawn'));
    signal.addEventListener('abort', abort, { once: true });
    try {
      return await ask(conversation);
    } finally {
      signal.removeEventListener('abort', abort);
      conversation.end(null);
      control.close(CLOSE_DONE, 'answered');
    }
  }

  #address({ node, url }: NodeAddress, signal: AbortSignal) {
    return { to: node, url, tls: this.#tls(), signal, heartbeat: this.#link.heartbeat };
  }
}
