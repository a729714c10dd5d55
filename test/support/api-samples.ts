import type {
  ConsoleChunk,
  CopyingReport,
  GuestInfo,
  LinkTestResult,
  MigrationEvent,
  MigrationInfo,
  MigrationResult,
  NodeInfo,
  RoundResult,
} from '../../shared/api.js';
import type { NodeFacts } from '../../shared/api/doctor.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import { PAGE_SIZE } from '../../shared/page.js';

/** Answers of an agent as they look in practice, for tests of the API and of the command line. */

export const definition: GuestDefinition = {
  name: 'web-1',
  kind: 'embedded',
  memory: 67_108_864,
  program: 'ticker',
  parameters: {},
};

export const nodeInfo: NodeInfo = {
  node: 'a',
  version: '0.1.0',
  protocol: { min: 1, max: 1 },
  guests: 1,
  memoryUsedBytes: 67_108_864,
  process: { cpuMs: 1234, residentBytes: 98_765_432 },
  memoryLimitBytes: 4_294_967_296,
  peers: [{ node: 'b', url: 'http://127.0.0.1:7801' }],
  drained: false,
  at: '2026-11-22T22:00:00.000Z',
};

export const nodeFacts: NodeFacts = {
  version: '0.1.0',
  protocol: { min: 1, max: 1 },
  nodejs: 'v20.19.0',
  kernel: '6.12.1',
  drained: false,
  memoryLimitBytes: 4_294_967_296,
  memoryUsedBytes: 67_108_864,
  qemu: { version: '7.2.22', machines: ['pc-q35-7.1', 'pc-q35-7.2'] },
  certificateExpiresAt: null,
};

export function guestInfo(changes: Partial<GuestInfo> = {}): GuestInfo {
  return {
    name: 'web-1',
    kind: 'embedded',
    status: 'running',
    memoryBytes: 67_108_864,
    migration: null,
    failure: null,
    definition,
    writeLog: { kind: 'store-path', reason: 'the machine marks each page that it stores to' },
    consoleBytes: 0,
    machine: { retiredInstructions: 123_456_789, exitCode: null },
    ...changes,
  };
}

/** What a guest prints at `position`. */
export function consoleChunk(position: number, text: string): ConsoleChunk {
  return { position, end: position + text.length, text };
}

export const MIGRATION_ID = 'a-20261122-0001';

export function migrationResult(changes: Partial<MigrationResult> = {}): MigrationResult {
  return {
    id: MIGRATION_ID,
    vm: 'web-1',
    from: 'a',
    to: 'b',
    outcome: 'completed',
    error: null,
    totalMs: 812.5,
    queuedMs: 0,
    downtimeMs: 6.5,
    downtime: { pauseMs: 0.5, residualMs: 2, stateMs: 1, verifyMs: 0, loadMs: 1, resumeMs: 2 },
    switchover: { stoppedAt: 1_767_225_600_000, resumedAt: 1_767_225_600_011.5 },
    convergence: { reason: 'below-threshold', action: 'switch-over', thresholdBytes: 30_000_000 },
    rounds: [
      {
        round: 0,
        pages: 16_384,
        zeroPages: 6384,
        bytes: 40_960_000,
        wireBytes: 41_000_000,
        ms: 40,
        bytesPerSecond: 1.025e9,
        dirtyPagesPerSecond: 5000,
        residualPages: 200,
      },
      {
        round: 1,
        pages: 200,
        zeroPages: 0,
        bytes: 819_200,
        wireBytes: 820_000,
        ms: 2,
        bytesPerSecond: 4.1e8,
        dirtyPagesPerSecond: 0,
        residualPages: 0,
      },
    ],
    ramBytes: 67_108_864,
    populatedBytes: 67_108_864,
    wireBytes: 41_820_000,
    writeLog: 'store-path',
    writeLogReason: 'the machine marks each page that it stores to',
    streams: { transport: 'tcp', open: 1, used: 1, reason: 'one was opened', tried: [] },
    verify: { mode: 'off', pagesChecked: 0, mismatches: 0 },
    ...changes,
  };
}

export function migrationInfo(changes: Partial<MigrationInfo> = {}): MigrationInfo {
  return {
    id: MIGRATION_ID,
    vm: 'web-1',
    from: 'a',
    to: 'b',
    role: 'source',
    phase: 'preparing',
    requestedAt: '2026-11-22T22:00:00.000Z',
    bandwidthBytesPerSecond: 0,
    progress: null,
    copying: null,
    queue: null,
    result: null,
    ...changes,
  };
}

/** Rounds over a link of 1 page/ms: each copies so many pages, what is next is what it left. The last figure is only left. */
export function roundsOf(...pages: number[]): RoundResult[] {
  return pages.slice(0, -1).map((copied, round) => {
    const residualPages = pages[round + 1] ?? 0;
    const bytes = copied * PAGE_SIZE;
    const perSecond = (amount: number) => (copied === 0 ? 0 : (amount / copied) * 1000);
    return {
      ...{ round, pages: copied, zeroPages: 0, bytes, wireBytes: bytes, ms: copied, residualPages },
      bytesPerSecond: perSecond(bytes),
      dirtyPagesPerSecond: perSecond(residualPages),
    };
  });
}

/** Of a migration that has copied `rounds`. */
export function copyingReport(rounds: RoundResult[], changes: Partial<CopyingReport> = {}): CopyingReport {
  return {
    rounds,
    thresholdBytes: rounds.length === 0 ? null : 20 * PAGE_SIZE,
    elapsedMs: rounds.reduce((sum, { ms }) => sum + ms, 0),
    limits: { maxRounds: 100, maxTotalMs: 600_000, stallRounds: 5, onLimit: 'switch-over' },
    ...changes,
  };
}

// distributes over the union, which Omit alone does not
type WithoutHeader<Event> = Event extends unknown ? Omit<Event, 'seq' | 'at' | 'migration'> : never;

/** Events of one migration, numbered from 0. */
export function migrationEvents(...events: WithoutHeader<MigrationEvent>[]): MigrationEvent[] {
  return events.map((event, seq) => ({
    seq,
    at: '2026-11-22T22:00:00.000Z',
    migration: MIGRATION_ID,
    ...event,
  }));
}

/** A migration that goes well: what an agent tells of it. */
export function completedMigration(result: MigrationResult = migrationResult()): MigrationEvent[] {
  const [first, last] = result.rounds;
  return migrationEvents(
    { event: 'phase', phase: 'preparing' },
    { event: 'phase', phase: 'copying' },
    { event: 'progress', round: 0, pagesDone: 8192, pagesTotal: 16_384, bytesPerSecond: 1e9 },
    ...(first ? [{ event: 'round' as const, round: first, thresholdBytes: 30_000_000 }] : []),
    { event: 'phase', phase: 'switching-over' },
    ...(last ? [{ event: 'round' as const, round: last, thresholdBytes: 30_000_000 }] : []),
    { event: 'phase', phase: 'committing' },
    { event: 'ended', result },
  );
}

export function linkTestResult(): LinkTestResult {
  return {
    from: 'a',
    to: 'b',
    memory: 'embedded',
    bytes: 2 ** 28,
    bytesPerSecond: [9e8, 2e9],
    wireBytes: 2 ** 29 + 49_152,
    streams: { transport: 'tcp', open: 1, used: 1, reason: 'one was opened', tried: [] },
  };
}
