import type {
  ClusterReport,
  ConsoleChunk,
  ConsoleEnd,
  GuestInfo,
  HistoryEntry,
  LinkTestRequest,
  LinkTestResult,
  MigrationEvent,
  MigrationInfo,
  MigrationRequest,
  NodeInfo,
  OutcomeReport,
  PreflightReport,
  QueueEntry,
  ReadinessReport,
  Resolution,
  ResolveRequest,
  StatusReport,
} from '../../shared/api.js';
import type { DoctorReport, PeerReports } from '../../shared/api/doctor.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';

/** What the HTTP API offers, without HTTP: the agent implements it. All failures are MigrationErrors. */
export interface AgentService {
  node(): NodeInfo;
  status(): StatusReport;
  queue(): QueueEntry[];
  /** All nodes that this one knows. `fresh`: nothing that was found before it was asked for; else it may be a second old. */
  cluster(fresh?: boolean): Promise<ClusterReport>;
  /** Whether guests may come here, from now on and over restarts. */
  setDrained(drained: boolean): Promise<NodeInfo>;
  /** How fit this node is for guests and for migrations. */
  doctor(): Promise<DoctorReport>;
  /** How each of the other nodes can be reached from here, as migrations reach them. */
  doctorPeers(): Promise<PeerReports>;
  /** Whether it can take part in migrations now. */
  readiness(): Promise<ReadinessReport>;
  /** What is counted and measured, in Prometheus' text format. */
  metrics(): Promise<string>;

  guests(): GuestInfo[];
  guest(name: string): GuestInfo;
  defineGuest(definition: GuestDefinition, image: Uint8Array | undefined): Promise<GuestInfo>;
  undefineGuest(name: string): Promise<void>;
  startGuest(name: string): Promise<GuestInfo>;
  /** Ends the guest's execution; its definition stays. */
  stopGuest(name: string): Promise<GuestInfo>;
  pauseGuest(name: string): Promise<GuestInfo>;
  resumeGuest(name: string): Promise<GuestInfo>;
  /** Makes a running machine that somebody else started a VM of this node, by its control socket. */
  adoptGuest(name: string, socket: string): Promise<GuestInfo>;
  /** What is known of the outcome that the VM is held for, and what its operator can do. */
  guestOutcome(name: string): Promise<OutcomeReport>;
  /** Settles that outcome; throws outcome-unknown where that is unsafe and not forced. */
  resolveGuest(name: string, request: ResolveRequest): Promise<Resolution>;
  /** Console output from `position` on (clamped to what is kept); with `follow`, on and on until it ends. */
  console(
    name: string,
    position: number,
    follow: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<ConsoleChunk, ConsoleEnd | null>;
  consoleInput(name: string, data: Uint8Array): Promise<void>;

  /** Measures the link to another node, in its turn among the migrations; throws what these do, and ends early with `signal`. */
  testLink(request: LinkTestRequest, signal: AbortSignal): Promise<LinkTestResult>;

  startMigration(request: MigrationRequest): Promise<MigrationInfo>;
  /** Preflight on both sides; changes nothing. */
  preflight(request: MigrationRequest): Promise<PreflightReport>;
  migrations(): MigrationInfo[];
  /** Also of one that ended in an earlier run of the agent. */
  migration(id: string): Promise<MigrationInfo>;
  /** Migrations from here that have ended, the last one first. */
  history(): HistoryEntry[];
  /** Resolves once the cancel took effect; throws too-late. */
  cancelMigration(id: string): Promise<MigrationInfo>;
  /** Gives a migration that waits or runs another limit; throws wrong-state. */
  limitMigration(id: string, bandwidthBytesPerSecond: number): MigrationInfo;
  /** Events with seq > `after`, those kept first, then as they happen; ends after 'ended'. */
  migrationEvents(id: string, after: number, signal: AbortSignal): AsyncGenerator<MigrationEvent>;
}
