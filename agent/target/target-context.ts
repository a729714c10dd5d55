import type { PreflightFinding, Transport } from '../../shared/protocol/messages.js';
import type { Timers } from '../../shared/timers.js';
import type { Guest, IncomingGuest } from '../guest/guest.js';
import type { OwnershipJournal } from '../journal/ownership-journal.js';
import type { PageSink, TargetControl } from '../link/link.js';
import type { ReceivedMemory } from './received-memory.js';
import type { Prepare, TargetState } from './target-state.js';

/** What a target session needs of the node that it brings a guest to. */
export interface IncomingHost {
  /** Everything that speaks for or against taking that guest; changes nothing. */
  preflight(prepare: Prepare): Promise<PreflightFinding[]>;
  /**
   * Creates the guest, paused and empty, and keeps its name and memory for it, with its definition on disk. Throws what
   * preflight refuses. Its machine may fail to start later.
   */
  create(prepare: Prepare): Promise<IncomingGuest>;
  /** Writes the guest's program image ahead of its commit: a full disk must be found before. */
  stageImage(vm: string, image: Uint8Array): Promise<void>;
  /** Makes the guest one of the node's own: it was committed. At once; what is to be on disk follows in the background. */
  adopt(guest: Guest): void;
  /** Destroys a guest of that name that was created and not committed, and frees its name and memory. */
  discard(vm: string): Promise<void>;
}

/** What page streams are opened for. */
export interface StreamsRequest extends Pick<Prepare, 'streams' | 'verify'> {
  readonly pageToken: string | undefined;
  readonly memory: ReceivedMemory;
  /** Where those that are read in this thread deliver. */
  readonly sink: PageSink;
  /** A stream that is read in another thread has ended a round; `pagesApplied`: by it, in all rounds. */
  readonly roundEndElsewhere: (stream: number, round: number, pagesApplied: number) => void;
  /** So many bytes came by a stream that is read in another thread. */
  readonly heardElsewhere: (bytes: number) => void;
  /** They are not needed any more: what is still being opened is given up. */
  readonly signal?: AbortSignal;
}

/** What is said of them in `prepared`. */
export interface OpenedStreams {
  readonly transport: Transport;
  readonly token: string;
  /** Why they are not the faster ones, for the operator. */
  readonly finding: PreflightFinding | null;
}

/** What a target session needs of the agent. What onState throws is a warning and changes nothing. */
export interface TargetContext {
  readonly migration: string;
  /** The node that the guest comes from. */
  readonly peer: string;
  readonly control: TargetControl;
  readonly host: IncomingHost;
  readonly journal: OwnershipJournal;
  /** Does what a dry run looks at when there is room for it; rejects where the signal aborts before. */
  readonly inTurn: <T>(signal: AbortSignal, look: () => Promise<T>) => Promise<T>;
  /** Opens the page streams at the source, where that was offered and works, or makes those of the source welcome. */
  readonly openStreams: (request: StreamsRequest) => Promise<OpenedStreams>;
  /** Resolves once no stream that this side has opened can write any more. Rejects if the source has not sent all of a frame. */
  readonly sealStreams: () => Promise<void>;
  readonly closeStreams: () => void;
  /** Aborts when the agent ends: an outcome that is not certain by then is left to its next run. */
  readonly agentEnds: AbortSignal;
  /** For the time limits; those of the process if not given. */
  readonly timers?: Pick<Timers, 'after'>;
  /** Monotonic clock, for what is measured. ms */
  readonly now: () => number;
  readonly onState: (state: TargetState, prepare: Prepare | null) => void;
  /** Something that went wrong and changes nothing about the outcome. */
  readonly onWarning: (message: string, error: unknown) => void;
}
