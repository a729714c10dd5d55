import { formatDuration } from '../../shared/units.js';
import { type BenchGuest, guestLabel } from './bench-guest.js';
import type { Move, MoveSeries } from './bench-report.js';
import type { Mover, Traveller } from './mover.js';
import type { TestBed } from './test-bed.js';
import { workloadLabel } from './workload.js';

interface Contender {
  readonly mover: Mover;
  readonly traveller: Traveller;
}

/**
 * Moves one guest by each of the movers, which take turns, so that all meet the same machine; whoever's turn it is not rests.
 * One run of each comes first and does not count: code is compiled, memory has been used.
 */
export async function moveSeries(
  bed: TestBed,
  guest: BenchGuest,
  { movers, links, runs }: { movers: readonly Mover[]; links: readonly (number | null)[]; runs: number },
  say: (line: string) => void,
): Promise<MoveSeries[]> {
  const contenders: Contender[] = [];
  const series: MoveSeries[] = [];
  await bed.setRate(null);
  for (const mover of movers) contenders.push({ mover, traveller: await mover.boot(guest) });
  for (const { traveller } of contenders) await traveller.migrate();
  for (const linkBytesPerSecond of links) {
    await bed.setRate(linkBytesPerSecond);
    const moves = await takeTurns(contenders, runs, (mover, run, move) =>
      say(`${label(guest)}, run ${run}: ${mover} ${inWords(move)}`),
    );
    for (const [index, { mover }] of contenders.entries()) {
      series.push({
        mover: mover.name,
        guest: guestLabel(guest),
        memoryBytes: guest.memoryBytes,
        workload: workloadLabel(guest.workload),
        linkBytesPerSecond,
        runs: moves[index]!,
      });
    }
  }
  // Where something has failed before, the bed ends all that is in it.
  await Promise.all(contenders.map(({ traveller }) => traveller.end()));
  return series;
}

/** The moves of each contender, in the order of the runs. */
async function takeTurns(
  contenders: readonly Contender[],
  runs: number,
  moved: (mover: string, run: number, move: Move) => void,
): Promise<Move[][]> {
  const moves: Move[][] = contenders.map(() => []);
  for (let run = 1; run <= runs; run += 1) {
    for (const [index, { mover, traveller }] of contenders.entries()) {
      const move = await traveller.migrate();
      moves[index]!.push(move);
      moved(mover.name, run, move);
    }
  }
  return moves;
}

function label(guest: BenchGuest): string {
  return `${guestLabel(guest)}, ${workloadLabel(guest.workload)}`;
}

function inWords({ totalMs, downtimeMs }: Move): string {
  return `${formatDuration(totalMs)}, downtime ${formatDuration(downtimeMs)}`;
}
