import type { MigrationOptions, MigrationPhase, RoundResult } from '../../shared/api.js';
import type { PreflightFinding, Transport } from '../../shared/protocol/messages.js';
import type { Timers } from '../../shared/timers.js';
import type { Guest } from '../guest/guest.js';
import type { OwnershipJournal } from '../journal/ownership-journal.js';
import type { PageSender, SourceControl } from '../link/link.js';
import type { MigrationSubject } from './migration-report.js';
import type { OutcomeQuestion } from './outcome-question.js';
import type { SourceState } from './source-state.js';

/** How long each answer of the target may take before the migration fails (or, after the commit, is asked for). ms */
export interface SourceTimeouts {
  readonly prepareMs: number;
  /**
   * For the reason why the target gave up, which the end of its page streams can overtake on its way: on another connection, where
   * a packet that is lost comes again after 200 ms at the earliest. The guest runs on meanwhile.
   */
  readonly explanationMs: number;
  /** The target's word that it has forgotten its record of the commit. */
  readonly settledMs: number;
  /** Without one more frame taken by the page streams: a peer that is there and reads nothing. */
  readonly stallMs: number;
  /** The acknowledgement of a round, after its last byte was handed to the link. */
  readonly roundAckMs: number;
  readonly finalizeMs: number;
  readonly commitMs: number;
  /** Between two questions for the outcome. */
  readonly askEveryMs: number;
  /** One question for the outcome, the connection included. */
  readonly askMs: number;
  /** Asked in vain for that long, the outcome is reported as unknown, and asked for further on. */
  readonly unknownAfterMs: number;
}

export const SOURCE_TIMEOUTS: SourceTimeouts = {
  prepareMs: 60_000,
  explanationMs: 1_000,
  stallMs: 30_000,
  roundAckMs: 60_000,
  finalizeMs: 60_000,
  commitMs: 10_000,
  settledMs: 5_000,
  askEveryMs: 1_000,
  askMs: 10_000,
  unknownAfterMs: 30_000,
};

/** What `prepared` says of the page streams. */
export interface AgreedPages {
  readonly transport: Transport;
  /** Opens streams at the target, over WebSocket. */
  readonly token: string;
  /** What the target has found, the way that pages take included. */
  readonly findings: readonly PreflightFinding[];
}

export interface SourceProgress {
  readonly round: number;
  readonly pagesDone: number;
  readonly pagesTotal: number;
  readonly bytesPerSecond: number;
}

/** What a source session needs of the agent. What an on… callback throws is a warning and changes nothing. */
export interface SourceContext {
  readonly subject: MigrationSubject;
  readonly guest: Guest;
  /** The program image that belongs to the definition, if it has one. */
  readonly image: Uint8Array | undefined;
  /** What the target must know beside the definition. */
  readonly traits: Record<string, string>;
  readonly options: MigrationOptions;
  readonly control: SourceControl;
  /** Page streams of this migration. */
  readonly streams: number;
  /** What the target must show to open them here, over TCP; null where this side opens them, over WebSocket. */
  readonly pageToken: string | null;
  /** The page streams, once they are agreed on: opens those that the target gave the token for, or takes those that it opened. */
  readonly openPages: (agreed: AgreedPages, signal: AbortSignal) => Promise<PageSender>;
  /** Asks the target for the outcome on a connection of its own; rejects if it can't be reached. */
  readonly askOutcome: (signal: AbortSignal) => Promise<'pending' | 'committed' | 'aborted'>;
  /**
   * Removes what the node keeps of a guest that has moved, its machine included; tells whether nothing is left. Until then
   * the journal remembers that it is not this node's.
   */
  readonly removeMoved: () => Promise<boolean>;
  readonly journal: OwnershipJournal;
  readonly timeouts: SourceTimeouts;
  /** For the timeouts; those of the process if not given. */
  readonly timers?: Pick<Timers, 'after'>;
  /** Monotonic clock, for what is measured. ms */
  readonly now: () => number;
  readonly onState: (state: SourceState, phase: MigrationPhase) => void;
  readonly onProgress: (progress: SourceProgress) => void;
  /** The outcome is being asked for from here on, or settled by whoever gets this. */
  readonly onQuestion?: (question: OutcomeQuestion) => void;
  readonly onRound: (round: RoundResult, thresholdBytes: number) => void;
  /** Something that went wrong and changes nothing about the outcome. */
  readonly onWarning: (message: string, error: unknown) => void;
}
