import type { ErrorBody } from '../../shared/errors.js';
import type { DoctorReport, PeerReport } from '../../shared/api/doctor.js';

/** A clock beside that of the host which asked: how far it is ahead, to within the bound. ms */
export interface ClockOffset {
  readonly aheadMs: number;
  readonly boundMs: number;
}

/** What was heard of a node. */
export interface ExaminedNode {
  readonly node: string;
  readonly url: string;
  /** Why the command line could not ask its agent; null if it could. */
  readonly error: ErrorBody | null;
  /** Why the agent that was asked first could not either. */
  readonly errorOfPeer: ErrorBody | null;
  readonly clock: ClockOffset | null;
  /** Its own word. Null where it was not to be had: `unsaid` says why. */
  readonly report: DoctorReport | null;
  /** What it finds of the nodes in its configuration. */
  readonly peers: readonly PeerReport[] | null;
  readonly unsaid: readonly ErrorBody[];
}

/** Memory sent from a node to another for a moment, or why not. */
export interface MeasuredLink {
  readonly from: string;
  readonly to: string;
  readonly bytesPerSecond: number | null;
  readonly error: ErrorBody | null;
  /** Why pages do not go as fast as both agents can let them. */
  readonly finding: { readonly message: string; readonly remedy?: string | undefined } | null;
}

/** All that the rules are given. */
export interface Examination {
  /** The node whose agent was asked first, and all that it knows. */
  readonly asked: string;
  readonly known: readonly string[];
  /** In the order of their names: all, or those that were chosen. */
  readonly nodes: readonly ExaminedNode[];
  /** Null: they were not to be measured. */
  readonly links: readonly MeasuredLink[] | null;
}
