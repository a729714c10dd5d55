import type {
  ClusterReport,
  GuestInfo,
  HistoryEntry,
  MigrationEvent,
  MigrationInfo,
  MigrationResult,
  NodeInfo,
  PreflightReport,
  QueueEntry,
} from '../../../shared/api.js';
import type { DoctorReport, PeerReports } from '../../../shared/api/doctor.js';

/** What answers look like in practice: the examples of the OpenAPI document. Tests hold them against its schemas. */

const MIGRATION = 'm-1a091e780bfd';
const STREAMS = {
  transport: 'tcp',
  open: 4,
  used: 2,
  reason: 'two streams carried 1.4 times as much as one; four carried no more than two',
  tried: [
    { streams: 1, bytesPerSecond: 1.1e9 },
    { streams: 2, bytesPerSecond: 1.6e9 },
  ],
} as const;

export const definition = { name: 'web', kind: 'embedded', memory: '256MiB', program: 'dirty' };

export const guest: GuestInfo = {
  name: 'web',
  kind: 'embedded',
  status: 'running',
  memoryBytes: 268_435_456,
  migration: null,
  failure: null,
  definition: { name: 'web', kind: 'embedded', memory: 268_435_456, program: 'dirty', parameters: {} },
  writeLog: { kind: 'store-path', reason: 'the machine marks each page that it stores to' },
  consoleBytes: 42,
  machine: { retiredInstructions: 347_253_075, exitCode: null, wallSeconds: 12.5 },
};

export const node: NodeInfo = {
  node: 'a',
  version: '0.1.0',
  protocol: { min: 1, max: 1 },
  guests: 1,
  memoryUsedBytes: 268_435_456,
  memoryLimitBytes: 4_294_967_296,
  peers: [{ node: 'b', url: 'https://10.0.0.2:7800' }],
  process: { cpuMs: 5120, residentBytes: 181_403_648 },
  drained: false,
  at: '2026-01-01T12:00:00.000Z',
};

export const doctor: DoctorReport = {
  node: 'a',
  ok: true,
  findings: [
    {
      level: 'warning',
      code: 'node-drained',
      message: 'node a is drained and takes no VMs',
      remedy: 'once it is to be used again: vmferry undrain a',
    },
  ],
  facts: {
    version: '0.1.0',
    protocol: { min: 1, max: 1 },
    nodejs: 'v20.19.0',
    kernel: '6.12.48',
    drained: true,
    memoryLimitBytes: 4_294_967_296,
    memoryUsedBytes: 268_435_456,
    qemu: { version: '7.2.22', machines: ['pc-q35-7.1', 'pc-q35-7.2'] },
    certificateExpiresAt: '2028-04-05T12:00:00.000Z',
  },
};

export const peers: PeerReports = {
  node: 'a',
  peers: [
    {
      node: 'b',
      url: 'https://10.0.0.2:7800',
      error: null,
      protocol: 1,
      path: {
        localAddress: '10.0.0.1',
        interface: 'eth0',
        interfaceMtu: 1500,
        interfaceSpeed: 1e10,
        pathMtu: 1500,
        roundTripMs: 0.2,
        largePackets: 'pass',
      },
      certificateExpiresAt: '2028-04-05T12:00:00.000Z',
    },
  ],
};

export const queueEntry: QueueEntry = {
  migration: MIGRATION,
  vm: 'web',
  from: 'a',
  to: 'b',
  requestedAt: '2026-11-22T22:00:00.000Z',
  priority: 0,
  position: 1,
  state: 'waiting',
  waitsFor: [{ node: 'b', holder: 'm-64ea0d64c011' }],
  overtaken: 0,
  overtakeLimit: 8,
};

export const result: MigrationResult = {
  id: MIGRATION,
  vm: 'web',
  from: 'a',
  to: 'b',
  outcome: 'completed',
  error: null,
  totalMs: 886.2,
  queuedMs: 29.7,
  downtimeMs: 24.2,
  downtime: { pauseMs: 0.5, residualMs: 2.9, stateMs: 3.1, verifyMs: 0, loadMs: 2.8, resumeMs: 14.9 },
  switchover: { stoppedAt: 1_795_384_800_850, resumedAt: 1_795_384_800_874.2 },
  convergence: { reason: 'below-threshold', action: 'switch-over', thresholdBytes: 4_613_734 },
  rounds: [
    {
      round: 0,
      pages: 18_959,
      zeroPages: 0,
      bytes: 77_656_064,
      wireBytes: 77_659_136,
      ms: 423,
      bytesPerSecond: 183_584_074,
      dirtyPagesPerSecond: 605,
      residualPages: 256,
    },
    {
      round: 1,
      pages: 256,
      zeroPages: 0,
      bytes: 1_048_576,
      wireBytes: 1_048_600,
      ms: 6.1,
      bytesPerSecond: 171_897_704,
      dirtyPagesPerSecond: 0,
      residualPages: 0,
    },
  ],
  ramBytes: 268_435_456,
  populatedBytes: 77_656_064,
  wireBytes: 78_707_736,
  writeLog: 'store-path',
  writeLogReason: 'the machine marks each page that it stores to',
  streams: { ...STREAMS, tried: [...STREAMS.tried] },
  verify: { mode: 'after', pagesChecked: 65_536, mismatches: 0 },
};

/** As it is answered when it is asked for. */
export const queuedMigration: MigrationInfo = {
  id: MIGRATION,
  vm: 'web',
  from: 'a',
  to: 'b',
  role: 'source',
  phase: 'queued',
  requestedAt: '2026-11-22T22:00:00.000Z',
  bandwidthBytesPerSecond: 0,
  progress: null,
  copying: null,
  queue: queueEntry,
  result: null,
};

export const endedMigration: MigrationInfo = { ...queuedMigration, phase: 'ended', queue: null, result };

export const historyEntry: HistoryEntry = {
  id: MIGRATION,
  vm: 'web',
  from: 'a',
  to: 'b',
  outcome: 'completed',
  error: null,
  totalMs: result.totalMs,
  queuedMs: result.queuedMs,
  downtimeMs: result.downtimeMs,
  wireBytes: result.wireBytes,
  requestedAt: '2026-11-22T22:00:00.000Z',
  endedAt: '2026-11-22T22:00:00.916Z',
  rounds: 2,
};

export const preflight: PreflightReport = {
  vm: 'web',
  from: 'a',
  to: 'b',
  ok: true,
  findings: [{ level: 'ok', code: 'link', message: 'node b answers' }],
};

export const progressEvent: MigrationEvent = {
  seq: 3,
  at: '2026-11-22T22:00:00.200Z',
  migration: MIGRATION,
  event: 'progress',
  round: 0,
  pagesDone: 8192,
  pagesTotal: 18_959,
  bytesPerSecond: 183_584_074,
};

const { position, ...everywhere } = queueEntry;

export const cluster: ClusterReport = {
  node: 'a',
  at: '2026-11-22T22:00:00.100Z',
  nodes: [
    {
      node: 'a',
      url: 'https://10.0.0.1:7800',
      status: { node, guests: [guest], migrations: [queuedMigration] },
      error: null,
    },
    {
      node: 'b',
      url: 'https://10.0.0.2:7800',
      status: null,
      error: {
        code: 'peer-unreachable',
        message: 'node b cannot be reached at https://10.0.0.2:7800: the connection is refused',
        retryable: true,
      },
    },
  ],
  queue: [{ ...everywhere, positions: [{ node: 'a', position }], expectedStart: '2026-11-22T22:00:04.000Z' }],
};
