import type { Logger } from 'pino';
import type { MigrationInfo, MigrationPhase } from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { CLOSE_DONE, errorToCloseCode } from '../../shared/protocol/close-codes.js';
import type { GuestStore } from '../guest/guest-store.js';
import type { OwnershipJournal } from '../journal/ownership-journal.js';
import { connectionError } from '../link/connection-end.js';
import type { Connection } from '../link/connection.js';
import type { Handshake } from '../link/hello.js';
import type { PageSink, TargetControl } from '../link/link.js';
import { receivePages } from '../link/page-receiver.js';
import { isPageToken, newPageToken } from '../link/page-token.js';
import type { NodeLock } from '../lock/node-lock.js';
import { serveNodeLock } from '../lock/serve-node-lock.js';
import { incomingHost } from './incoming-host.js';
import { TargetSession } from './target-session.js';
import type { Prepare, TargetState } from './target-state.js';

/** What incoming migrations need of their agent. */
export interface IncomingContext {
  readonly node: string;
  readonly guests: GuestStore;
  readonly lock: NodeLock;
  readonly journal: OwnershipJournal;
  readonly logger: Logger;
}

/** Page streams that a prepared migration waits for or has. */
interface Streams {
  readonly token: string;
  readonly count: number;
  readonly sink: PageSink;
  readonly open: Map<number, Connection>;
}

interface Incoming {
  readonly id: string;
  readonly from: string;
  readonly session: TargetSession;
  readonly requestedAt: Date;
  prepare: Prepare | null;
  streams: Streams | null;
}

const PHASES: { readonly [S in TargetState['name']]: MigrationPhase } = {
  opened: 'queued',
  preparing: 'preparing',
  receiving: 'copying',
  loading: 'switching-over',
  ready: 'switching-over',
  'recording-commit': 'committing',
  resuming: 'committing',
  running: 'ended',
  aborting: 'aborting',
  aborted: 'ended',
};

/** Migrations that ended lately and are still shown. */
const MAX_SHOWN = 50;

/** All migrations that come to this node: their control connections, their page streams and their outcomes. */
export class IncomingMigrations {
  readonly #context: IncomingContext;
  /** Those that have a guest here which is not committed yet, by id: one session each. */
  readonly #active = new Map<string, Incoming>();
  readonly #shown: MigrationInfo[] = [];
  #closing = false;

  constructor(context: IncomingContext) {
    this.#context = context;
  }

  /** Running ones and those that ended lately, the latest first. */
  list(): MigrationInfo[] {
    return [...[...this.#active.values()].map((incoming) => this.#info(incoming)), ...this.#shown];
  }

  /** Takes over a control connection after its handshake. */
  accept(control: TargetControl, handshake: Handshake): void {
    const { lock } = this.#context;
    const id = handshake.migrationId;
    const from = handshake.peer.node;
    const refuse = (error: MigrationError) => {
      control.send({ type: 'error', ...error.toJSON() }).catch(() => undefined);
      control.close(errorToCloseCode(error.code), error.message);
    };
    const logger = this.#context.logger.child({
      migration: id,
      pair: `${from}->${this.#context.node}`,
      role: 'target',
    });
    const served = serveNodeLock({ lock, control, migration: id, from, refused: refuse });
    const incoming = this.#open(id, from, control, logger);
    const { session } = incoming;

    control.onMessage((message) => {
      if (message.type.startsWith('lock-')) return;
      if (message.type === 'ask') {
        this.#outcome(id, from)
          .then((outcome) => control.send({ type: 'answer', outcome }))
          .catch((error: unknown) => refuse(toMigrationError(error)));
        return;
      }
      try {
        if (message.type === 'prepare' && !message.dryRun) this.#activate(incoming);
        session.receive(message);
      } catch (error) {
        refuse(toMigrationError(error));
      }
    });
    control.onClose((end) => {
      served.stop();
      const settled = end.code === CLOSE_DONE && session.state.name === 'running' && session.adopted;
      session.fail(connectionError(end, `node ${from}`));
      if (settled) {
        // The source has heard that the guest runs here, and will not ask.
        this.#context.journal.forget(id).catch((error: unknown) => {
          logger.warn({ err: error }, 'the journal entry could not be removed');
        });
      }
    });
  }

  /** For LinkServer: who takes a page connection over. Throws not-found or wrong-state. */
  authorizePages(id: string, stream: number, token: string): (connection: Connection) => void {
    const incoming = this.#active.get(id);
    const streams = incoming?.streams;
    if (!incoming || !streams || !isPageToken(streams.token, token)) {
      throw new MigrationError('not-found', 'no migration of that id expects pages with that token');
    }
    if (stream >= streams.count || streams.open.has(stream)) {
      throw new MigrationError(
        'wrong-state',
        `page stream ${stream} of migration ${id} is open already or too many`,
      );
    }
    return (connection) => {
      streams.open.set(stream, connection);
      receivePages(connection, stream, streams.sink, `node ${incoming.from}`, (error) => {
        incoming.session.fail(
          error ?? new MigrationError('link-lost', `node ${incoming.from} closed page stream ${stream}`),
        );
      });
    };
  }

  /** Waits for those under way, up to `timeoutMs`; what is not committed then is discarded. */
  async close(timeoutMs: number): Promise<void> {
    this.#closing = true;
    const sessions = [...this.#active.values()];
    const settled = Promise.all(sessions.map(({ session }) => session.settled));
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([settled, new Promise((resolve) => (timer = setTimeout(resolve, timeoutMs)))]);
    clearTimeout(timer);
    for (const { id, session } of this.#active.values()) {
      this.#context.logger.warn(
        { migration: id, role: 'target' },
        'incoming migration given up: shutting down',
      );
      session.fail(new MigrationError('shutting-down', `node ${this.#context.node} is shutting down`));
    }
    await settled;
  }

  #open(id: string, from: string, control: TargetControl, logger: Logger): Incoming {
    const { guests, journal, lock } = this.#context;
    const session = new TargetSession({
      migration: id,
      peer: from,
      control,
      host: incomingHost(guests, id, logger),
      journal,
      openStreams: (count, sink) => {
        const token = newPageToken();
        incoming.streams = { token, count, sink, open: new Map() };
        return token;
      },
      closeStreams: () => {
        for (const connection of incoming.streams?.open.values() ?? []) {
          connection.close(CLOSE_DONE, 'the migration has ended');
        }
      },
      now: () => performance.now(),
      onState: (state, prepare) => {
        incoming.prepare = prepare;
        logger[this.#active.get(id) === incoming ? 'info' : 'debug'](
          { state: state.name, ...('error' in state && { error: state.error.toJSON() }) },
          'state changed',
        );
      },
      onWarning: (message, error) => logger.error({ err: error }, message),
    });
    const incoming: Incoming = { id, from, session, requestedAt: new Date(), prepare: null, streams: null };
    void session.settled.then(() => {
      if (this.#active.get(id) !== incoming) return;
      this.#active.delete(id);
      this.#shown.unshift(this.#info(incoming));
      this.#shown.length = Math.min(this.#shown.length, MAX_SHOWN);
      // A source that has vanished can't release; one that is there does it itself.
      if (session.state.name === 'aborted' && session.state.error.code === 'link-lost') lock.release(id);
    });
    return incoming;
  }

  /** Enters the migration as active. Throws why a guest can't be prepared for it now. */
  #activate(incoming: Incoming): void {
    const { node, lock } = this.#context;
    const { id } = incoming;
    if (this.#closing) throw new MigrationError('shutting-down', `node ${node} is shutting down`);
    const active = this.#active.get(id);
    if (active && active !== incoming) {
      throw new MigrationError('duplicate-migration', `migration ${id} is under way on another connection`);
    }
    if (lock.holder !== id) {
      throw new MigrationError(
        'unexpected-message',
        `migration ${id} does not hold the lock of node ${node}: take it first`,
      );
    }
    this.#active.set(id, incoming);
  }

  /** What became of a migration. One that is neither on record nor under way never will be committed here. */
  async #outcome(id: string, from: string): Promise<'pending' | 'committed' | 'aborted'> {
    const { journal, node } = this.#context;
    const known = journal.get(id);
    if (known && known.peer !== from) {
      throw new MigrationError('not-found', `migration ${id} did not come to node ${node} from ${from}`);
    }
    if (!known && this.#active.has(id)) return 'pending';
    const at = new Date().toISOString();
    const decision = await journal.decide({ migration: id, decision: 'aborted', vm: null, peer: from, at });
    return decision === 'committed' ? 'committed' : 'aborted';
  }

  #info(incoming: Incoming): MigrationInfo {
    const { id, from, session, requestedAt, prepare } = incoming;
    return {
      id,
      vm: prepare?.definition.name ?? '',
      from,
      to: this.#context.node,
      role: 'target',
      phase: PHASES[session.state.name],
      requestedAt: requestedAt.toISOString(),
      progress: null,
      queue: null,
      result: null,
    };
  }
}
