import type { ClusterNode, MigrationInfo, MigrationResult } from '../../shared/api.js';
import { forecast } from '../../shared/migration-forecast.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { counted, formatBytes, formatDuration } from '../../shared/units.js';
import { filledBar, sparkline } from './bars.js';
import { guestTable } from './guest-text.js';
import { forecastLine, ratesLine, roundThatRuns, stateLine } from './migration-lines.js';

/** What `status --watch` shows on a terminal: pure, reports in, lines out. */

/** What was heard of the nodes. */
export interface Look {
  /** The last that each has told, or why it tells nothing. */
  readonly nodes: readonly ClusterNode[];
  /** Why nothing is heard at present, and since when (Unix ms); null while all is well. */
  readonly failure: { readonly reason: string; readonly since: number } | null;
}

export interface Line {
  readonly text: string;
  /** Shown bold: a heading, or what somebody should see to. */
  readonly strong?: boolean;
  /** Goes on in the next line where there is no room; others are cut. */
  readonly wraps?: boolean;
}

/** Migrations that have ended and are shown still. */
const SHOWN_ENDED = 5;

const BAR_WIDTH = 30;

/** Less than that is not drawn for. */
const MIN_WIDTH = 10;

/** Rounds whose residuals are drawn. */
const DRAWN_ROUNDS = 30;

/** What a terminal of `columns` by `rows` characters has room for of a look at `now` (Unix ms). */
export function viewOf(look: Look, now: number, columns: number, rows: number): Line[] {
  // The last column stays free: clearing what is right of a full line takes its last character.
  const width = Math.max(MIN_WIDTH, columns - 1);
  const lines = linesOf(look, now).flatMap(({ text, wraps, ...style }) => {
    const said = printable(text);
    return (wraps === true ? wrapped(said, width) : [cut(said, width)]).map((each) => ({
      text: each,
      ...style,
    }));
  });
  if (lines.length <= rows) return lines;
  return [...lines.slice(0, rows - 1), { text: `… ${lines.length - rows + 1} more lines` }];
}

/** What moves goes first: where there is little room, it is what is looked for. */
function linesOf({ nodes, failure }: Look, now: number): Line[] {
  const lines: Line[] = nodes.map(nodeLine);
  if (failure) {
    const since = formatDuration(Math.max(0, now - failure.since));
    const text = `no answer for ${since}, what follows is from before: ${failure.reason}`;
    lines.push({ text, strong: true, wraps: true });
  }
  const all = migrationsOf(nodes);
  const open = all.filter(({ phase }) => phase !== 'ended').sort((a, b) => placeOf(a) - placeOf(b));
  const ended = all.filter(({ result }) => result !== null);
  if (open.length === 0) lines.push({ text: '' }, { text: 'no migration runs or waits' });
  for (const migration of open) lines.push({ text: '' }, ...migrationLines(migration));
  const several = nodes.length > 1;
  const guests = nodes.flatMap(({ node, status }) =>
    (status?.guests ?? []).map((guest) => (several ? { ...guest, node } : guest)),
  );
  const [heading, ...rows] = guestTable(guests).split('\n');
  lines.push(
    { text: '' },
    { text: heading ?? '', strong: rows.length > 0 },
    ...rows.map((text) => ({ text })),
  );
  if (ended.length > 0) lines.push({ text: '' }, { text: 'ended', strong: true });
  for (const { id, vm, from, to, result } of ended.slice(0, SHOWN_ENDED)) {
    if (result)
      lines.push({ text: `${vm} from ${from} to ${to}   ${id}   ${outcomeText(result)}`, wraps: true });
  }
  return lines;
}

function nodeLine({ node: name, status, error }: ClusterNode): Line {
  if (!status)
    return { text: `node ${name}   tells nothing: ${error?.message ?? ''}`, strong: true, wraps: true };
  const { version, drained, memoryUsedBytes, memoryLimitBytes } = status.node;
  const vms = counted(status.guests.length, 'VM');
  const memory = `${formatBytes(memoryUsedBytes)} of ${formatBytes(memoryLimitBytes)} for VMs in use`;
  const closed = drained ? '   drained: takes no VMs' : '';
  return { text: `node ${name}   vmferry ${version}   ${vms}   ${memory}${closed}`, strong: true };
}

/** Those of all nodes, each once, as its source tells it, which knows most of it. The last that was asked for comes first. */
export function migrationsOf(nodes: readonly ClusterNode[]): MigrationInfo[] {
  const byId = new Map<string, MigrationInfo>();
  for (const migration of nodes.flatMap(({ status }) => status?.migrations ?? [])) {
    if (!byId.has(migration.id) || migration.role === 'source') byId.set(migration.id, migration);
  }
  return [...byId.values()].sort((a, b) => Date.parse(b.requestedAt) - Date.parse(a.requestedAt));
}

function migrationLines(migration: MigrationInfo): Line[] {
  const { id, vm, from, to, phase, progress, copying } = migration;
  const lines: Line[] = [{ text: `${vm} from ${from} to ${to}   ${id}`, strong: true }];
  lines.push({ text: `  ${stateLine(migration)}` });
  if (phase !== 'copying' || !copying) return lines;
  const round = roundThatRuns(migration);
  if (progress && progress.round === round) {
    const share = progress.pagesTotal === 0 ? 1 : progress.pagesDone / progress.pagesTotal;
    const percent = `${Math.floor(100 * share)} %`.padStart(5);
    lines.push({
      text: `  ${filledBar(share, BAR_WIDTH)} ${percent} of ${formatBytes(progress.pagesTotal * PAGE_SIZE)}`,
    });
  } else {
    lines.push({ text: `  ${filledBar(0, BAR_WIDTH)}` });
  }
  const rates = ratesLine(migration);
  if (rates !== '') lines.push({ text: `  ${rates}` });
  const { rounds } = copying;
  if (rounds.length > 0) {
    const drawn = rounds.slice(-DRAWN_ROUNDS).map(({ residualPages }) => residualPages);
    lines.push({
      text: `  left by round ${sparkline(drawn)}  most ${formatBytes(Math.max(...drawn) * PAGE_SIZE)}`,
    });
  }
  const ahead = forecast(copying, progress);
  lines.push({ text: `  ${forecastLine(ahead)}`, strong: ahead.state === 'stalled', wraps: true });
  return lines;
}

/** Those that run first, then those that wait. */
function placeOf({ phase, queue }: MigrationInfo): number {
  return phase === 'queued' ? (queue?.position ?? Infinity) : -1;
}

/** How one has ended. */
export function outcomeText({ outcome, error, totalMs, downtimeMs }: MigrationResult): string {
  return outcome === 'completed'
    ? `completed in ${formatDuration(totalMs)}, downtime ${formatDuration(downtimeMs)}`
    : `${outcome}${error ? `: ${error.message}` : ''}`;
}

/** Without what a terminal would obey: some of it was said by guests and peers. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}

function cut(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`;
}

/** Lines of words, those after the first further in. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest.length > width) {
    const space = rest.lastIndexOf(' ', width);
    const end = space > width / 2 ? space : width;
    lines.push(rest.slice(0, end));
    rest = `    ${rest.slice(end).trimStart()}`;
  }
  return [...lines, rest];
}
