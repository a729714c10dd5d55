import {
  type ClusterQueueEntry,
  CopyingReportSchema,
  type MigrationInfo,
  MigrationInfoSchema,
  type QueueEntry,
  type StatusReport,
} from '../../shared/api.js';
import { forecast as convergenceForecast } from '../../shared/migration-forecast.js';
import { compareArrival } from '../lock/pair.js';

/** What is relied on of a migration that copies. */
const CopyingSchema = MigrationInfoSchema.pick({ progress: true }).extend({ copying: CopyingReportSchema });

/** What a node that answered says. */
export interface NodeView {
  readonly node: string;
  readonly status: StatusReport;
  readonly queue: readonly QueueEntry[];
}

/**
 * The queues of all nodes as one: each migration once, those that run first, the others in the order of arrival, which is also
 * that of their turns as far as no later one may overtake.
 */
export function clusterQueue(views: readonly NodeView[], now: number): ClusterQueueEntry[] {
  const merged = new Map<string, ClusterQueueEntry>();
  for (const { node, queue } of views) {
    for (const { position, ...entry } of queue) {
      const known = merged.get(entry.migration);
      if (!known) {
        merged.set(entry.migration, { ...entry, positions: [{ node, position }], expectedStart: null });
        continue;
      }
      known.positions.push({ node, position });
      known.overtaken = Math.max(known.overtaken, entry.overtaken);
      // One node has heard of the start or the end before the other.
      if (entry.state === 'waiting') known.state = 'waiting';
      known.waitsFor = known.state === 'running' ? [] : joinWaits(known.waitsFor, entry.waitsFor);
    }
  }
  const order = (entry: ClusterQueueEntry) => ({ ...entry, requestedAt: Date.parse(entry.requestedAt) });
  const entries = [...merged.values()].sort(
    (a, b) =>
      Number(a.state === 'waiting') - Number(b.state === 'waiting') || compareArrival(order(a), order(b)),
  );
  forecast(entries, views, now);
  return entries;
}

function joinWaits(some: QueueEntry['waitsFor'], others: QueueEntry['waitsFor']): QueueEntry['waitsFor'] {
  const byNode = new Map(some.map((wait) => [wait.node, wait]));
  for (const wait of others)
    if ((byNode.get(wait.node)?.holder ?? null) === null) byNode.set(wait.node, wait);
  return [...byNode.values()];
}

/** Lets all of them run one after the other on paper, each as soon as both of its nodes are free. */
function forecast(entries: readonly ClusterQueueEntry[], views: readonly NodeView[], now: number): void {
  const rate = usualRate(views);
  /** When each node is free; Infinity: that is not known. Unix ms */
  const free = new Map<string, number>();
  for (const entry of entries) {
    const start = Math.max(now, ...[entry.from, entry.to].map((node) => free.get(node) ?? now));
    if (entry.state === 'waiting' && Number.isFinite(start))
      entry.expectedStart = new Date(start).toISOString();
    const takes = entry.state === 'running' ? remainingMs(entry, views) : wholeMs(entry, views, rate);
    for (const node of [entry.from, entry.to]) free.set(node, start + (takes ?? Infinity));
  }
}

/** Until it can be paused, by its rounds; null where they don't tell. What comes then takes less, but for a comparison of all memory. */
function remainingMs({ migration, from }: ClusterQueueEntry, views: readonly NodeView[]): number | null {
  const info = viewOf(from, views)?.status.migrations.find(({ id }) => id === migration);
  if (info?.phase !== 'copying') return null;
  // It is another node's word.
  const { success, data } = CopyingSchema.safeParse(info);
  return success ? convergenceForecast(data.copying, data.progress).etaMs : null;
}

/** All of its guest's memory once. */
function wholeMs(
  { vm, from }: ClusterQueueEntry,
  views: readonly NodeView[],
  bytesPerSecond: number | null,
): number | null {
  const guest = viewOf(from, views)?.status.guests.find(({ name }) => name === vm);
  return guest === undefined || bytesPerSecond === null ? null : (guest.memoryBytes * 1000) / bytesPerSecond;
}

function viewOf(node: string, views: readonly NodeView[]): NodeView | undefined {
  return views.find((view) => view.node === node);
}

/** Guest memory a second, median of what was moved lately and what moves now. bytes/s; null if nothing was. */
function usualRate(views: readonly NodeView[]): number | null {
  const rates = views
    .flatMap(({ status }) => status.migrations)
    .map(rateOf)
    .filter((rate) => rate > 0)
    .sort((a, b) => a - b);
  return rates[Math.floor(rates.length / 2)] ?? null;
}

function rateOf({ result, progress }: MigrationInfo): number {
  if (result === null) return progress?.bytesPerSecond ?? 0;
  return result.outcome === 'completed' && result.totalMs > 0 ? (result.ramBytes * 1000) / result.totalMs : 0;
}
