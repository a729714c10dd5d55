import { formatBytes, formatRate } from '../../shared/units.js';
import { formatTable } from '../cli/table.js';
import type { Move, MoveSeries } from './bench-report.js';
import { median } from './median.js';
import { spreadOf, spreadText } from './spread.js';

/** Those who move the very same guest as vmferry does; others are shown beside. */
const PRIVATE_RAM = /private RAM$/;

const VMFERRY = 'vmferry';

/** How vmferry stands to the best of QEMU's ways in one guest, workload and link: medians, vmferry's first. */
export interface Standing {
  readonly total: number;
  readonly downtime: number;
}

/** Null unless both were measured. */
export function standingOf(group: readonly MoveSeries[]): Standing | null {
  const vmferry = group.find(({ mover }) => mover === VMFERRY);
  const others = group.filter(({ mover }) => mover !== VMFERRY && !PRIVATE_RAM.test(mover));
  if (!vmferry || others.length === 0) return null;
  const ratio = (figure: (move: Move) => number) =>
    median(vmferry.runs.map(figure)) / Math.min(...others.map(({ runs }) => median(runs.map(figure))));
  return { total: ratio((move) => move.totalMs), downtime: ratio((move) => move.downtimeMs) };
}

/**
 * Total time to the time that the link takes for what is populated, once; null for a link without a cap. What is populated is
 * that of the member of the group which has least of it: pages that are zero are holes once vmferry has moved them.
 */
export function linkRatio(
  { linkBytesPerSecond: rate, runs }: MoveSeries,
  group: readonly MoveSeries[],
): number | null {
  if (rate === null) return null;
  const populated = Math.min(
    ...group.map((each) => median(each.runs.map(({ populatedBytes }) => populatedBytes))),
  );
  return (median(runs.map(({ totalMs }) => totalMs)) * rate) / (1000 * populated);
}

/** The series of one guest, workload and link each, in their order. */
export function groupsOf(series: readonly MoveSeries[]): MoveSeries[][] {
  const groups = new Map<string, MoveSeries[]>();
  for (const each of series) {
    const key = JSON.stringify([each.guest, each.workload, each.linkBytesPerSecond]);
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  return [...groups.values()];
}

/** Medians of all series, with what lies between the runs: times, then what the moves took. */
export function moveTables(series: readonly MoveSeries[]): string {
  const standings = groupsOf(series).flatMap((group) => standingLine(group));
  return [timeTable(series), costTable(series), ...(standings.length > 0 ? [standings.join('\n')] : [])].join(
    '\n\n',
  );
}

const figures = true;

function timeTable(series: readonly MoveSeries[]): string {
  return formatTable(
    [
      ...[{ heading: 'guest' }, { heading: 'workload' }, { heading: 'link' }, { heading: 'by' }],
      ...[
        { heading: 'total ms', figures },
        { heading: 'to the link', figures },
      ],
      ...[
        { heading: 'copy ms', figures },
        { heading: 'downtime ms', figures },
        { heading: 'ended' },
        { heading: 'guest' },
      ],
    ],
    groupsOf(series).flatMap((group) =>
      group.map((each) => [
        ...names(each),
        spreadText(spreadOf(each.runs.map(({ totalMs }) => totalMs))),
        linkRatio(each, group)?.toFixed(3) ?? '',
        median(each.runs.map(({ copyMs }) => copyMs)).toFixed(0),
        spreadText(spreadOf(each.runs.map(({ downtimeMs }) => downtimeMs))),
        [...new Set(each.runs.map(({ convergence }) => convergence))].join(', '),
        crashes(each),
      ]),
    ),
  );
}

function costTable(series: readonly MoveSeries[]): string {
  return formatTable(
    [
      ...[{ heading: 'guest' }, { heading: 'workload' }, { heading: 'link' }, { heading: 'by' }],
      ...[
        { heading: 'rounds', figures },
        { heading: 'populated', figures },
        { heading: 'sent', figures },
      ],
      ...[
        { heading: 'rate', figures },
        { heading: 'CPU ms, source', figures },
      ],
      ...[
        { heading: 'target', figures },
        { heading: 'work during', figures },
        { heading: 'after', figures },
      ],
    ],
    series.map((each) => {
      const of = (figure: (move: Move) => number) => median(each.runs.map(figure));
      return [
        ...names(each),
        of(({ roundCount }) => roundCount).toFixed(0),
        formatBytes(of(({ populatedBytes }) => populatedBytes)),
        formatBytes(of(({ wireBytes }) => wireBytes)),
        formatRate(of(({ wireBytes, copyMs }) => (wireBytes * 1000) / copyMs)),
        of(({ cpuMs }) => cpuMs.source).toFixed(0),
        of(({ cpuMs }) => cpuMs.target).toFixed(0),
        ...workShares(each),
      ];
    }),
  );
}

/** Work during and after the moves as parts of that before; empty for guests that don't tell. */
function workShares({ runs }: MoveSeries): string[] {
  const told = runs.flatMap(({ workPerSecond }) => (workPerSecond === null ? [] : [workPerSecond]));
  if (told.length === 0) return ['', ''];
  const share = (when: 'during' | 'after') => median(told.map((rates) => rates[when] / rates.before));
  return [share('during').toFixed(2), share('after').toFixed(2)];
}

/** 'intact', or how often it crashed on the target. */
function crashes({ runs }: MoveSeries): string {
  const count = runs.filter(({ intact }) => !intact).length;
  return count === 0 ? 'intact' : `crashed in ${count} of ${runs.length}`;
}

function names({ guest, workload, linkBytesPerSecond, mover }: MoveSeries): string[] {
  return [guest, workload, linkText(linkBytesPerSecond), mover];
}

/** '1 Gbit/s' */
export function linkText(bytesPerSecond: number | null): string {
  return bytesPerSecond === null ? 'no cap' : `${(bytesPerSecond * 8) / 1e9} Gbit/s`;
}

function standingLine(group: readonly MoveSeries[]): string[] {
  const standing = standingOf(group);
  if (!standing) return [];
  const { guest, workload, linkBytesPerSecond } = group[0]!;
  const { total, downtime } = standing;
  return [
    `${guest}, ${workload}, ${linkText(linkBytesPerSecond)}: vmferry to the best of QEMU's ways: ` +
      `total ${total.toFixed(2)}, downtime ${downtime.toFixed(2)}`,
  ];
}
