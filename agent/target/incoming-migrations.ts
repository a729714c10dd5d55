import type { Logger } from 'pino';
import type { MigrationInfo, MigrationPhase } from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { CLOSE_DONE, errorToCloseCode } from '../../shared/protocol/close-codes.js';
import type { SourceMessage } from '../../shared/protocol/messages.js';
import type { IncomingGuests } from '../guest/incoming-guests.js';
import type { ScratchMemory } from '../guest/scratch-memory.js';
import type { OwnershipJournal } from '../journal/ownership-journal.js';
import { Slots } from '../admission/slots.js';
import { connectionError } from '../link/connection-end.js';
import { errorMessage } from '../link/error-message.js';
import type { Handshake } from '../link/hello.js';
import type { TargetControl } from '../link/link.js';
import type { NodeLock, Occupation } from '../lock/node-lock.js';
import { type ServedNodeLock, serveNodeLock } from '../lock/serve-node-lock.js';
import { systemTimers, type Timers } from '../../shared/timers.js';
import { incomingHost } from './incoming-host.js';
import { IncomingOutcomes } from './incoming-outcomes.js';
import { IncomingPages, notExpected, type StreamSource } from './incoming-pages.js';
import { type LinkTest, LinkTestSession } from './link-test-session.js';
import { MIN_PROGRESS_BYTES, SILENT_SOURCE_MS, watchSource } from './silent-source.js';
import { TargetSession } from './target-session.js';
import type { Prepare, TargetState } from './target-state.js';

/** What incoming migrations need of their agent. */
export interface IncomingContext {
  readonly node: string;
  readonly guests: IncomingGuests;
  readonly lock: NodeLock;
  readonly journal: OwnershipJournal;
  readonly logger: Logger;
  /** How page streams are opened at that node. */
  readonly streamsFrom: (node: string) => StreamSource;
  /** Memory for a link test. Throws target-out-of-memory. */
  readonly scratchMemory: (test: LinkTest) => Promise<ScratchMemory>;
  /** A migration to here has ended, with `error` where the guest did not come. Must not throw. */
  readonly onEnded?: (error: MigrationError | null) => void;
  /** For the time limits; those of the process if not given. */
  readonly timers?: Pick<Timers, 'after'>;
}

interface Incoming {
  readonly id: string;
  readonly from: string;
  readonly session: TargetSession;
  readonly requestedAt: Date;
  prepare: Prepare | null;
  readonly pages: IncomingPages;
  /** Its use of the node, from 'prepare' on. */
  occupation: Occupation | null;
}

/** States in which this side is at work, and the source waits for it; in 'ready' the session has a limit of its own. */
const BUSY: ReadonlySet<TargetState['name']> = new Set([
  'preparing',
  'loading',
  'ready',
  'recording-commit',
  'resuming',
  'aborting',
] as const);

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

/** With these alone one that has the node gets on: it could keep it for ever with any other. */
const GETS_ON: ReadonlySet<SourceMessage['type']> = new Set([
  'verify-request',
  'finalize',
  'commit',
  'abort',
]);

/** Dry runs that this node looks at at once, and of those for one peer; each may look at files and start programs. */
const MAX_DRY_RUNS = 16;
const MAX_DRY_RUNS_OF_PEER = 4;

/** Migrations that ended lately and are still shown. */
const MAX_SHOWN = 50;

/** All migrations that come to this node: their control connections, their page streams and their outcomes. */
export class IncomingMigrations {
  readonly #context: IncomingContext;
  /** Those that have a guest here which is not committed yet, by id: one session each. */
  readonly #active = new Map<string, Incoming>();
  /** Link tests that run, by id. */
  readonly #tests = new Map<string, { readonly pages: IncomingPages; readonly test: LinkTestSession }>();
  readonly #shown: MigrationInfo[] = [];
  readonly #dryRuns = new Slots(MAX_DRY_RUNS, MAX_DRY_RUNS_OF_PEER);
  readonly #outcomes: IncomingOutcomes;
  readonly #agentEnds = new AbortController();

  constructor(context: IncomingContext) {
    this.#context = context;
    this.#outcomes = new IncomingOutcomes(context, (id) => this.#active.get(id));
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
      control.send(errorMessage(error)).catch(() => undefined);
      control.close(errorToCloseCode(error.code), error.message);
    };
    const logger = this.#context.logger.child({
      migration: id,
      pair: `${from}->${this.#context.node}`,
      role: 'target',
    });
    const served = serveNodeLock({ lock, control, migration: id, from, refused: refuse });
    const incoming = this.#open(id, from, control, served, logger);
    const { session, pages } = incoming;
    const test = new LinkTestSession({ control, pages, memory: this.#context.scratchMemory, refuse });
    let said = 0;
    /** One at a time: what waits for the end of a migration would grow for as long as that takes. */
    let settling = false;
    const stopWatching = watchSource(
      {
        progress: () => said + session.pageBytes + test.pageBytes,
        due: () => !served.waits() && !BUSY.has(session.state.name),
        silent: () => {
          served.release();
          refuse(
            new MigrationError(
              'timeout',
              `node ${from} did not get on for ${SILENT_SOURCE_MS} ms, and it was its turn: it must say something, ` +
                `and send at least ${MIN_PROGRESS_BYTES} bytes of the guest in that time`,
            ),
          );
        },
      },
      this.#context.timers ?? systemTimers,
    );

    control.onMessage((message) => {
      if (!served.holds() || GETS_ON.has(message.type)) said += MIN_PROGRESS_BYTES;
      if (message.type.startsWith('lock-')) return;
      try {
        if (message.type === 'ask') {
          control.send({ type: 'answer', outcome: this.#outcomes.outcome(id, from) }).catch(() => undefined);
          return;
        }
        if (message.type === 'settled') {
          if (settling) {
            const text = `'settled' came before the one before it was answered`;
            throw new MigrationError('unexpected-message', text);
          }
          settling = true;
          void this.#outcomes.settled(id, from).then((answer) => {
            settling = false;
            control.send(answer).catch(() => undefined);
          });
          return;
        }
        if (message.type === 'link-test') {
          this.#startTest(incoming, test, message, served);
          return;
        }
        // Once is enough: what comes out of turn is the session's to refuse.
        const first = message.type === 'prepare' && !message.dryRun && session.state.name === 'opened';
        if (first) this.#activate(incoming, served);
        session.receive(message);
      } catch (error) {
        refuse(toMigrationError(error));
      }
    });
    control.onClose((end) => {
      stopWatching();
      served.stop();
      void test.end();
      session.fail(connectionError(end, `node ${from}`));
      // The source knows that it was not committed, and will not ask.
      if (end.code === CLOSE_DONE) void this.#outcomes.forgetAborted(id, from, session, logger);
    });
  }

  /** For LinkServer: who takes a page connection over. Throws not-found or wrong-state. */
  authorizePages(id: string, stream: number, token: string, peer: string | null) {
    const incoming = this.#active.get(id);
    const pages = incoming?.session.state.name === 'receiving' ? incoming.pages : this.#tests.get(id)?.pages;
    if (!pages) throw notExpected();
    return pages.authorize(stream, token, peer);
  }

  /** Gives up what is not committed: the guests go on where they are. Waits for what is committed. */
  async close(): Promise<void> {
    this.#agentEnds.abort();
    const sessions = [...this.#active.values()];
    for (const { id, session } of sessions) {
      this.#context.logger.warn(
        { migration: id, role: 'target' },
        'incoming migration given up: shutting down',
      );
      session.fail(new MigrationError('shutting-down', 'the agent is shutting down'));
    }
    // Their memory is files, which would outlive the agent.
    const tests = [...this.#tests.values()].map(({ test }) =>
      test.fail(new MigrationError('shutting-down', 'the agent is shutting down')),
    );
    await Promise.all([...sessions.map(({ session }) => session.settled), ...tests]);
  }

  #open(id: string, from: string, control: TargetControl, served: ServedNodeLock, logger: Logger): Incoming {
    const { guests, journal, timers, streamsFrom } = this.#context;
    const pages = new IncomingPages({
      ...streamsFrom(from),
      migration: id,
      from,
      logger,
      fail: (error) => session.fail(error),
    });
    const session: TargetSession = new TargetSession({
      migration: id,
      peer: from,
      control,
      host: incomingHost(guests, id, logger, (vm) => this.#cleared(id, from, vm)),
      journal,
      inTurn: (signal, look) => this.#dryRuns.run(from, signal, look),
      openStreams: (request) => pages.open(request),
      sealStreams: () => pages.seal(),
      closeStreams: () => pages.close(),
      agentEnds: this.#agentEnds.signal,
      ...(timers && { timers }),
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
    const incoming: Incoming = {
      ...{ id, from, session, pages, requestedAt: new Date() },
      ...{ prepare: null, occupation: null },
    };
    void session.settled.then(() => {
      const { state } = session;
      if (this.#active.get(id) === incoming) {
        this.#active.delete(id);
        this.#shown.unshift(this.#info(incoming));
        this.#shown.length = Math.min(this.#shown.length, MAX_SHOWN);
        // What stays uncertain has not ended.
        if (!this.#context.journal.uncertain(id)) {
          this.#context.onEnded?.(state.name === 'aborted' ? state.error : null);
        }
      }
      // A guest that has come is compared and its copy destroyed before the source gives the node back.
      incoming.occupation?.end(state.name === 'aborted');
      pages.close();
      if (state.name !== 'aborted') return;
      // Without an occupation, too: what the source still says is not heard after the close.
      served.release();
      control.close(errorToCloseCode(state.error.code), state.error.message);
    });
    return incoming;
  }

  /**
   * Waits until nothing is left of migrations that are being given up, and of earlier ones of that VM from that node: a
   * source that asks again has given those up, and its word of it may still be under way on the other connection.
   */
  async #cleared(id: string, from: string, vm: string): Promise<void> {
    const ending = [...this.#active.values()].filter(
      (other) =>
        other.id !== id &&
        (other.session.state.name === 'aborting' ||
          (other.from === from && other.prepare?.definition.name === vm)),
    );
    await Promise.all(ending.map(({ session }) => session.settled));
  }

  /** One for each connection, which must hold the node as a migration does. Throws why it can't be. */
  #startTest(incoming: Incoming, test: LinkTestSession, message: LinkTest, served: ServedNodeLock): void {
    const { id, from, pages } = incoming;
    const inUse = this.#tests.has(id) || this.#active.has(id);
    const occupation =
      this.#agentEnds.signal.aborted || inUse || !test.fresh ? null : served.occupy(() => void test.end());
    if (!occupation) {
      const text = `a link test from node ${from} can't begin: take the lock of node ${this.#context.node} first, once`;
      throw new MigrationError('unexpected-message', text);
    }
    this.#tests.set(id, { pages, test });
    void test.start(message);
    void test.ended.then(() => {
      this.#tests.delete(id);
      occupation.end(true);
    });
  }

  /** Enters the migration as active. Throws why a guest can't be prepared for it now. */
  #activate(incoming: Incoming, served: ServedNodeLock): void {
    const { node } = this.#context;
    const { id, from, session } = incoming;
    if (this.#agentEnds.signal.aborted)
      throw new MigrationError('shutting-down', 'the agent is shutting down');
    const active = this.#active.get(id);
    if (active && active !== incoming) {
      throw new MigrationError('duplicate-migration', `migration ${id} is under way on another connection`);
    }
    if (this.#outcomes.known(id, from)) {
      throw new MigrationError('wrong-state', `the outcome of migration ${id} is known: begin another one`);
    }
    // By this connection: the id alone, which anybody can show, gives no right to the node.
    const occupation = served.occupy(() => {
      session.fail(
        new MigrationError(
          'unexpected-message',
          `node ${from} released node ${node} in the middle of migration ${id}`,
        ),
      );
    });
    if (!occupation) {
      throw new MigrationError(
        'unexpected-message',
        `migration ${id} does not hold the lock of node ${node}: take it first`,
      );
    }
    incoming.occupation = occupation;
    this.#active.set(id, incoming);
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
      bandwidthBytesPerSecond: null,
      progress: null,
      copying: null,
      queue: null,
      result: null,
    };
  }
}
