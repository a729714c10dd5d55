import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type {
  ConvergenceReason,
  MigrationInfo,
  MigrationResult,
  Outcome,
  RoundResult,
} from '../../shared/api.js';
import { ERROR_CODES, type ErrorBody, type ErrorCode, type MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { unixNow } from '../../shared/unix-clock.js';
import type { OutgoingObserver } from '../source/outgoing-migration.js';

/** From a switchover that nobody notices to one that ends connections. */
const DOWNTIME_BUCKETS = [0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60];

/** A part of the downtime may be a tenth of a millisecond. */
const DOWNTIME_PART_BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30];

/** From an idle guest of some MiB to one of a terabyte on a slow link. */
const DURATION_BUCKETS = [0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200];

/** From nodes that were free to a night's queue. */
const QUEUE_BUCKETS = [0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400];

const PARTS = ['pause', 'residual', 'state', 'verify', 'load', 'resume'] as const;

const REASONS: readonly ConvergenceReason[] = ['below-threshold', 'stalled', 'round-limit', 'time-limit'];

const CODES = Object.keys(ERROR_CODES) as ErrorCode[];

/** The code of what ended well. */
const NO_ERROR = 'none';

/** Codes with which a migration may have moved its guest nevertheless. */
const MOVED_WITH: readonly ErrorCode[] = ['guest-failed', 'verify-mismatch', 'verify-incomplete'];

type Role = MigrationInfo['role'];

/** A migration from this node that has both nodes. */
interface Running {
  /** Unix time in s. */
  readonly since: number;
  lastRound: RoundResult | null;
  /** What its rounds have put on the link. */
  sentBytes: number;
}

/**
 * What is counted of migrations: once a round and once a migration, never by frame or page. Labels have values from lists in
 * the code alone; VMs, peers and ids come and go, and are in the log and the API. Nothing here throws.
 */
export class MigrationMetrics implements OutgoingObserver {
  readonly #running = new Map<string, Running>();
  readonly #ended;
  readonly #settled;
  readonly #refused;
  readonly #rounds;
  readonly #pages;
  readonly #copiedBytes;
  readonly #sentBytes;
  readonly #convergence;
  readonly #downtime;
  readonly #downtimePart;
  readonly #duration;
  readonly #queueTime;
  readonly #runningCount;
  readonly #startedAt;
  readonly #linkRate;
  readonly #dirtyRate;
  readonly #residual;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#ended = new Counter({
      ...{ name: 'vmferry_migrations_total', registers, labelNames: ['role', 'outcome', 'code'] },
      help: "Migrations that have ended, by this node's role, outcome and error code ('none': without error).",
    });
    this.#settled = new Counter({
      ...{ name: 'vmferry_migrations_settled_total', registers, labelNames: ['outcome'] },
      help: 'Migrations from here that ended with an unknown outcome, which is known by now.',
    });
    this.#refused = new Counter({
      ...{ name: 'vmferry_migrations_refused_total', registers, labelNames: ['code'] },
      help: 'Migrations that were asked for here and did not begin: preflight refused, or the target could not be asked.',
    });
    this.#rounds = new Counter({
      ...{ name: 'vmferry_migration_rounds_total', registers },
      help: 'Rounds copied by migrations from here, those of the switchover included.',
    });
    this.#pages = new Counter({
      ...{ name: 'vmferry_migration_pages_total', registers, labelNames: ['content'] },
      help: "Pages of 4096 bytes sent by migrations from here: 'data', or 'zero', which travel without content.",
    });
    this.#copiedBytes = new Counter({
      ...{ name: 'vmferry_migration_copied_bytes_total', registers },
      help: 'Guest memory copied by migrations from here, zero pages not counted.',
    });
    this.#sentBytes = new Counter({
      ...{ name: 'vmferry_migration_sent_bytes_total', registers },
      help: 'Put on the link by page streams of migrations from here, framing included.',
    });
    this.#convergence = new Counter({
      ...{ name: 'vmferry_migration_convergence_total', registers, labelNames: ['reason'] },
      help: "Migrations from here whose rounds have ended, by the reason; all but 'below-threshold' did not converge.",
    });
    this.#downtime = new Histogram({
      ...{ name: 'vmferry_migration_downtime_seconds', registers, buckets: DOWNTIME_BUCKETS },
      help: 'From the pause here to the resume on the target, of migrations from here that moved their guest.',
    });
    this.#downtimePart = new Histogram({
      ...{ name: 'vmferry_migration_downtime_part_seconds', registers, buckets: DOWNTIME_PART_BUCKETS },
      help: 'What the downtime went into, by part.',
      labelNames: ['part'],
    });
    this.#duration = new Histogram({
      ...{ name: 'vmferry_migration_duration_seconds', registers, buckets: DURATION_BUCKETS },
      help: 'From the grant of both nodes to the end, of migrations from here, by outcome.',
      labelNames: ['outcome'],
    });
    this.#queueTime = new Histogram({
      ...{ name: 'vmferry_migration_queue_seconds', registers, buckets: QUEUE_BUCKETS },
      help: 'Time that migrations from here waited for the locks of both nodes, of those that got them.',
    });
    this.#runningCount = new Gauge({
      ...{ name: 'vmferry_migrations_running', registers, labelNames: ['role'] },
      help: "Migrations that run, by this node's role.",
    });
    this.#startedAt = new Gauge({
      ...{ name: 'vmferry_migration_start_timestamp_seconds', registers },
      help: 'When the migration from here that runs got its nodes, Unix time; 0 while none runs.',
    });
    this.#linkRate = new Gauge({
      ...{ name: 'vmferry_migration_link_bytes_per_second', registers },
      help: 'Put on the link by the migration from here that runs, in its current round or else the last; 0 while none runs.',
    });
    this.#dirtyRate = new Gauge({
      ...{ name: 'vmferry_migration_dirty_bytes_per_second', registers },
      help: 'Guest memory written during the last round of the migration from here that runs, whole pages; 0 while none runs.',
    });
    this.#residual = new Gauge({
      ...{ name: 'vmferry_migration_residual_bytes', registers },
      help: 'What the last harvest left to copy of the migration from here that runs; before the first, all that is populated.',
    });
    this.#startAtZero();
  }

  /** A first failure is an increase only where there was a zero before it. */
  #startAtZero(): void {
    for (const role of ['source', 'target'] as const) {
      this.#count(role, 'completed', NO_ERROR, 0);
      this.#count(role, 'cancelled', 'cancelled', 0);
      for (const code of CODES) if (code !== 'cancelled') this.#count(role, 'failed', code, 0);
    }
    for (const code of MOVED_WITH) this.#count('source', 'completed', code, 0);
    this.#count('source', 'unknown', 'outcome-unknown', 0);
    for (const outcome of ['completed', 'failed', 'cancelled'] as const) this.#settled.inc({ outcome }, 0);
    for (const code of CODES) this.#refused.inc({ code }, 0);
    for (const content of ['data', 'zero']) this.#pages.inc({ content }, 0);
    for (const reason of REASONS) this.#convergence.inc({ reason }, 0);
    for (const part of PARTS) this.#downtimePart.zero({ part });
    for (const outcome of ['completed', 'failed', 'cancelled', 'unknown']) this.#duration.zero({ outcome });
  }

  /** It did not come to be one. */
  refused({ code }: MigrationError): void {
    this.#refused.inc({ code });
  }

  // -- OutgoingObserver

  began(id: string, queuedMs: number): void {
    this.#queueTime.observe(seconds(queuedMs));
    this.#running.set(id, { since: unixNow() / 1000, lastRound: null, sentBytes: 0 });
  }

  roundCopied(id: string, round: RoundResult): void {
    const { pages, zeroPages, bytes, wireBytes } = round;
    this.#rounds.inc();
    this.#pages.inc({ content: 'data' }, amount(pages - zeroPages));
    this.#pages.inc({ content: 'zero' }, amount(zeroPages));
    this.#copiedBytes.inc(amount(bytes));
    this.#sentBytes.inc(amount(wireBytes));
    const running = this.#running.get(id);
    if (!running) return;
    running.lastRound = round;
    running.sentBytes += wireBytes;
  }

  ended(result: MigrationResult): void {
    const { id, outcome, error, convergence, totalMs } = result;
    this.#count('source', outcome, codeOf(error));
    const running = this.#running.get(id);
    this.#running.delete(id);
    if (!running) return;
    this.#duration.observe({ outcome }, seconds(totalMs));
    // Beside whole rounds: the program image, the device state, a round that was broken off.
    this.#sentBytes.inc(amount(result.wireBytes - running.sentBytes));
    if (convergence) this.#convergence.inc({ reason: convergence.reason });
    this.#observeDowntime(result);
  }

  settled(result: MigrationResult): void {
    this.#settled.inc({ outcome: result.outcome });
    this.#observeDowntime(result);
  }

  // --

  /** A migration to here has ended, with `error` where the guest did not come. */
  incomingEnded(error: MigrationError | null): void {
    const outcome = error === null ? 'completed' : error.code === 'cancelled' ? 'cancelled' : 'failed';
    this.#count('target', outcome, codeOf(error));
  }

  /** Brings what is told of the migrations that run up to date. */
  update(migrations: readonly MigrationInfo[]): void {
    for (const role of ['source', 'target'] as const) {
      const runs = migrations.filter(
        (each) => each.role === role && each.phase !== 'queued' && each.phase !== 'ended',
      );
      this.#runningCount.set({ role }, runs.length);
    }
    const figures = { startedAt: 0, linkRate: 0, dirtyRate: 0, residual: 0 };
    // One at a time, but in a benchmark of what more would cost.
    for (const [id, { since, lastRound }] of this.#running) {
      const progress = migrations.find((each) => each.id === id)?.progress;
      figures.startedAt = figures.startedAt === 0 ? since : Math.min(figures.startedAt, since);
      figures.linkRate += amount(progress?.bytesPerSecond ?? lastRound?.bytesPerSecond ?? 0);
      figures.dirtyRate += amount((lastRound?.dirtyPagesPerSecond ?? 0) * PAGE_SIZE);
      figures.residual += (lastRound?.residualPages ?? progress?.pagesTotal ?? 0) * PAGE_SIZE;
    }
    this.#startedAt.set(figures.startedAt);
    this.#linkRate.set(figures.linkRate);
    this.#dirtyRate.set(figures.dirtyRate);
    this.#residual.set(figures.residual);
  }

  #count(role: Role, outcome: Outcome, code: string, by = 1): void {
    this.#ended.inc({ role, outcome, code }, by);
  }

  #observeDowntime({ outcome, downtimeMs, downtime }: MigrationResult): void {
    if (outcome !== 'completed') return;
    this.#downtime.observe(seconds(downtimeMs));
    for (const part of PARTS) this.#downtimePart.observe({ part }, seconds(downtime[`${part}Ms`]));
  }
}

function codeOf(error: Pick<ErrorBody, 'code'> | null): string {
  return error?.code ?? NO_ERROR;
}

/** Some figures are a peer's: a counter that is given nonsense would throw. */
function amount(value: number): number {
  return Number.isFinite(value) ? Math.max(0, value) : 0;
}

function seconds(ms: number): number {
  return amount(ms) / 1000;
}
