import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OwnershipJournal } from '../../agent/journal/ownership-journal.js';
import type { Connection } from '../../agent/link/connection.js';
import { sourceControl, targetControl } from '../../agent/link/control-channel.js';
import type { SourceControl, TargetControl } from '../../agent/link/link.js';
import { type MemoryConnection, connectedPair } from '../../agent/link/memory-connection.js';
import { receivePages } from '../../agent/link/page-receiver.js';
import { streamsToOpen } from '../../agent/source/stream-choice.js';
import { StreamedPageSender } from '../../agent/link/page-sender.js';
import { SOURCE_TIMEOUTS, type SourceContext, SourceSession } from '../../agent/source/source-session.js';
import type { SourceState } from '../../agent/source/source-state.js';
import type { IncomingHost } from '../../agent/target/target-context.js';
import { TargetSession } from '../../agent/target/target-session.js';
import type { TargetState } from '../../agent/target/target-state.js';
import { type MigrationOptions, MigrationOptionsSchema, type MigrationResult } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { errorToCloseCode } from '../../shared/protocol/close-codes.js';
import { ArrayGuest } from './array-guest.js';

export interface MemoryMigrationOptions {
  options?: Partial<MigrationOptions>;
  timeouts?: Partial<SourceContext['timeouts']>;
  now?: () => number;
  /** Wraps the sending end of each page stream: latency, rate, faults. */
  decoratePages?: (connection: Connection, stream: number) => Connection;
  decorateSourceControl?: (connection: Connection) => Connection;
  decorateTargetControl?: (connection: Connection) => Connection;
  image?: Uint8Array;
  timers?: SourceContext['timers'];
  onSourceState?: (state: SourceState) => void;
  onTargetState?: (state: TargetState) => void;
  askOutcome?: SourceContext['askOutcome'];
  /** What the target creates for a source guest; by default one of the same shape. */
  createTarget?: (guest: ArrayGuest) => ArrayGuest;
  /** How the machine of it starts; by default it has. */
  startTarget?: (copy: ArrayGuest) => Promise<ArrayGuest>;
}

/** Both ends of one migration in this process, connected in memory by the product's own link. */
export class MemoryMigration {
  static async start(guest: ArrayGuest, options: MemoryMigrationOptions = {}): Promise<MemoryMigration> {
    const directory = await mkdtemp(join(tmpdir(), 'vmferry-engine-'));
    const [from, to] = await Promise.all([
      OwnershipJournal.open(join(directory, 'source')),
      OwnershipJournal.open(join(directory, 'target')),
    ]);
    return new MemoryMigration(guest, options, directory, from, to);
  }

  readonly guest: ArrayGuest;
  readonly source: SourceSession;
  readonly target: TargetSession;
  readonly sourceStates: string[] = [];
  readonly targetStates: string[] = [];
  readonly warnings: string[] = [];
  readonly sourceJournal: OwnershipJournal;
  readonly targetJournal: OwnershipJournal;
  /** The target's copy; null while it has none. */
  copy: ArrayGuest | null = null;
  stagedImage: Uint8Array | undefined;
  readonly adopted: ArrayGuest[] = [];
  readonly controlConnections: [MemoryConnection, MemoryConnection];
  readonly pageConnections: MemoryConnection[] = [];
  /** Holds both journals, 'source' and 'target'. */
  readonly directory: string;

  private constructor(
    guest: ArrayGuest,
    given: MemoryMigrationOptions,
    directory: string,
    sourceJournal: OwnershipJournal,
    targetJournal: OwnershipJournal,
  ) {
    this.guest = guest;
    this.directory = directory;
    this.sourceJournal = sourceJournal;
    this.targetJournal = targetJournal;
    const same = (connection: Connection) => connection;
    const options = MigrationOptionsSchema.parse(given.options ?? {});
    const streams = streamsToOpen(options.streams, 1);
    this.controlConnections = connectedPair();
    const [near, far] = this.controlConnections;
    const control: SourceControl = sourceControl((given.decorateSourceControl ?? same)(near));
    const farControl: TargetControl = targetControl((given.decorateTargetControl ?? same)(far));
    const now = given.now ?? (() => performance.now());
    const onWarning = (message: string) => void this.warnings.push(message);
    const openedStreams: { connect: ((stream: number, connection: Connection) => void) | null } = {
      connect: null,
    };

    const host: IncomingHost = {
      preflight: () => Promise.resolve([]),
      create: () => {
        this.copy =
          given.createTarget?.(guest) ??
          new ArrayGuest(guest.definition.name, ...guest.regions.map((r) => r.memory.length / PAGE_SIZE));
        this.copy.state = 'paused';
        const machine = (given.startTarget ?? ((copy) => Promise.resolve(copy)))(this.copy);
        return Promise.resolve({ regions: this.copy.regions, machine });
      },
      stageImage: (_vm, image) => {
        this.stagedImage = image;
        return Promise.resolve();
      },
      adopt: (taken) => {
        this.adopted.push(taken as ArrayGuest);
      },
      discard: async () => {
        await this.copy?.destroy();
      },
    };
    this.target = new TargetSession({
      migration: 'm-00000001',
      peer: 'a',
      control: farControl,
      host,
      journal: targetJournal,
      agentEnds: new AbortController().signal,
      inTurn: (_signal, look) => look(),
      openStreams: ({ sink }) => {
        openedStreams.connect = (stream, connection) =>
          receivePages(connection, stream, sink, 'node a', (error) => {
            if (error) this.target.fail(error);
          });
        return Promise.resolve({ transport: 'websocket', token: 'token', finding: null });
      },
      sealStreams: () => Promise.resolve(),
      closeStreams: () => this.pageConnections.forEach((connection) => connection.close(4000, '')),
      now,
      onState: (state) => {
        this.targetStates.push(state.name);
        given.onTargetState?.(state);
      },
      onWarning,
    });
    farControl.onMessage((message) => {
      if (message.type !== 'settled') this.target.receive(message);
      // as the agent does; the record stays here, for those who check it
      else void farControl.send({ type: 'forgotten' }).catch(() => undefined);
    });
    farControl.onClose((end) => this.target.fail(new MigrationError('link-lost', end.reason)));

    this.source = new SourceSession({
      subject: { id: 'm-00000001', vm: guest.definition.name, from: 'a', to: 'b' },
      guest,
      image: given.image,
      options,
      traits: {},
      removeMoved: () => Promise.resolve(true),
      control,
      streams,
      pageToken: null,
      openPages: (_agreed, signal) => {
        const ends = Array.from({ length: streams }, (_, stream) => {
          const [sending, receiving] = connectedPair();
          this.pageConnections.push(sending);
          openedStreams.connect?.(stream, receiving);
          return (given.decoratePages ?? same)(sending, stream);
        });
        return Promise.resolve(new StreamedPageSender(ends, { peer: 'node b', signal }));
      },
      askOutcome:
        given.askOutcome ??
        (() => {
          // as the agent answers: what is neither on record nor under way never will be committed
          const known = this.targetJournal.get('m-00000001')?.decision;
          const underWay = this.target.state.name !== 'aborted';
          if (!known) return Promise.resolve(underWay ? 'pending' : 'aborted');
          return Promise.resolve(known === 'committed' ? 'committed' : 'aborted');
        }),
      journal: sourceJournal,
      timeouts: { ...SOURCE_TIMEOUTS, ...given.timeouts },
      ...(given.timers && { timers: given.timers }),
      now,
      onState: (state) => {
        this.sourceStates.push(state.name);
        given.onSourceState?.(state);
      },
      onProgress: () => undefined,
      onRound: () => undefined,
      onWarning,
    });
  }

  /**
   * As the agent ends it: the result of the source, the control connection closed, in good order where nobody will ask
   * for the outcome, and both sides done.
   */
  async ended(): Promise<MigrationResult> {
    const result = await this.source.settled;
    const open = this.sourceJournal.get('m-00000001') !== undefined;
    this.controlConnections[0].close(errorToCloseCode(open ? 'outcome-unknown' : null), '');
    await this.target.settled;
    return result;
  }

  /** Guests that could execute now: must never be more than one. */
  get runnable(): ArrayGuest[] {
    const guests = this.copy && this.copy !== this.guest ? [this.guest, this.copy] : [this.guest];
    return guests.filter((guest) => !guest.destroyed && guest.state === 'running');
  }

  async clean(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}
