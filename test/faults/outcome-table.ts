import { formatTable } from '../../scripts/cli/table.js';
import type { RunReport } from './fault-run.js';

/** How often which fault in which phase had which outcome; pairs of faults by both, whatever the phase. */
export function outcomeTable(reports: readonly RunReport[]): string {
  const counts = new Map<string, number>();
  for (const report of reports) {
    const key = JSON.stringify([...subjectOf(report), report.outcome]);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const rows = [...counts]
    .map(([key, count]) => [...(JSON.parse(key) as string[]), String(count)])
    .sort((a, b) => a.join('\0').localeCompare(b.join('\0')));
  return formatTable(
    [{ heading: 'fault' }, { heading: 'phase' }, { heading: 'outcome' }, { heading: 'runs', figures: true }],
    rows,
  );
}

function subjectOf({ injected }: RunReport): [fault: string, phase: string] {
  const [first, second] = injected;
  if (!first) return ['none: its step was not reached', ''];
  if (!second) return [first.fault, first.phase];
  return [`${first.fault} + ${second.fault}`, 'two faults'];
}
