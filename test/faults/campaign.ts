import { mkdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FaultPair, type GuestKindName } from './fault-pair.js';
import { nameOf, type Plan, planOf } from './fault-plan.js';
import { type RunReport, runPlan } from './fault-run.js';
import { embeddedSubject, qemuSubject, type Subject } from './subjects.js';

export interface CampaignOptions {
  readonly guest: GuestKindName;
  /** Each run has the next seed. */
  readonly firstSeed: number;
  readonly runs: number;
  /** No run begins after that. s */
  readonly seconds: number;
  /** Pairs of agents that are at work at the same time. */
  readonly pairs: number;
  readonly onRun?: (report: RunReport, logs: string | null) => void;
}

/** Runs plans of seeds one after the other on pairs of agents that are kept, as long as nothing is wrong with them. */
export async function runCampaign(options: CampaignOptions): Promise<RunReport[]> {
  const { guest, firstSeed, runs, seconds, pairs } = options;
  const subject = guest === 'embedded' ? embeddedSubject() : qemuSubject();
  const until = performance.now() + seconds * 1000;
  const reports: RunReport[] = [];
  let next = 0;
  const work = async () => {
    const crew = new Crew(subject);
    try {
      while (next < runs && performance.now() < until) {
        const plan = planOf(firstSeed + next++, guest);
        const { report, logs } = await crew.run(plan);
        reports.push(report);
        options.onRun?.(report, logs);
      }
    } finally {
      await crew.close();
    }
  };
  await Promise.all(Array.from({ length: Math.min(pairs, runs) }, work));
  return reports;
}

/** A pair of agents for each transport. */
class Crew {
  readonly #subject: Subject;
  readonly #pairs = new Map<Plan['transport'], FaultPair>();

  constructor(subject: Subject) {
    this.#subject = subject;
  }

  async run(plan: Plan): Promise<{ report: RunReport; logs: string | null }> {
    const pair = await this.#pair(plan.transport);
    const report = await runPlan(pair, this.#subject, plan);
    if (report.violations.length === 0) return { report, logs: null };
    const logs = join(logDirectory(), `${this.#subject.kind}-seed-${plan.seed}`);
    await pair.writeLogs(logs);
    await writeFile(join(logs, 'report.json'), JSON.stringify(report, null, 2));
    // Whatever is wrong with it must not be found again in the next run.
    this.#pairs.delete(plan.transport);
    await pair.close();
    return { report, logs };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#pairs.values()].map((pair) => pair.close()));
  }

  async #pair(transport: Plan['transport']): Promise<FaultPair> {
    const known = this.#pairs.get(transport);
    if (known) return known;
    const pair = await FaultPair.start(this.#subject.kind, transport);
    this.#pairs.set(transport, pair);
    await warmUp(pair, this.#subject);
    await pair.takeBaseline();
    return pair;
  }
}

/** A guest moves there and back: what agents keep from then on they have. */
export async function warmUp(pair: FaultPair, subject: Subject): Promise<void> {
  await subject.boot(pair, 'a', 'warm-up');
  for (const [from, to] of [
    ['a', 'b'],
    ['b', 'a'],
  ] as const) {
    const { error } = await pair.lab.migrate('warm-up', from, to, { streams: 4, maxRounds: 2 });
    if (error) throw new Error(`a pair of agents that nothing is wrong with fails: ${error.message}`);
  }
  await pair.client('a').changeGuest('warm-up', 'stop');
  await pair.client('a').undefineGuest('warm-up');
}

let logs: string | null = null;

/** Where logs of runs that went wrong are kept. */
function logDirectory(): string {
  logs ??= join(tmpdir(), `vmferry-faults-${process.pid}`);
  mkdirSync(logs, { recursive: true });
  return logs;
}

/** One line of a run. */
export function describeRun({ plan, injected, outcome, ms, settleMs }: RunReport): string {
  const planned = plan.faults.map(({ fault, moment }) => `${nameOf(fault)} at ${JSON.stringify(moment)}`);
  const happened =
    injected.map(({ fault, phase }) => `${fault} (${phase})`).join(' + ') || 'nothing happened';
  return (
    `seed ${plan.seed}: ${happened}: ${outcome}, ${(ms / 1000).toFixed(1)} s, settled in ${settleMs.toFixed(0)} ms` +
    (outcome === 'VIOLATION' ? `; planned: ${planned.join('; ')}` : '')
  );
}
