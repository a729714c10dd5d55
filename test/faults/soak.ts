import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openFiles } from '../support/open-files.js';
import { eventually } from './eventually.js';
import { FaultPair, type GuestKindName, NODES, type NodeName, otherNode } from './fault-pair.js';
import { embeddedSubject, qemuSubject } from './subjects.js';

/** What processes hold at a moment at which no migration is under way. */
export interface SoakSample {
  readonly migrations: number;
  readonly figures: Readonly<Record<string, number>>;
}

/** What may grow by how much from the second quarter of the samples to the last: a share, and as much again for noise. */
const TOLERANCE: Readonly<Record<string, { readonly share: number; readonly more: number }>> = {
  'resident MiB': { share: 0.1, more: 8 },
  descriptors: { share: 0, more: 1 },
  threads: { share: 0, more: 1 },
  'tmpfs MiB': { share: 0.01, more: 1 },
};

/** Samples of a soak. */
const SAMPLES = 60;

const MIB = 2 ** 20;

/** Connections by which this process has asked are closed by then. ms */
const QUIET_LIMIT_MS = 15_000;

export interface SoakReport {
  readonly samples: readonly SoakSample[];
  /** What grew, or went wrong; empty if nothing did. */
  readonly violations: readonly string[];
}

/** One guest goes to and fro between two agents, nothing being wrong. */
export async function runSoak(
  kind: GuestKindName,
  migrations: number,
  onSample: (sample: SoakSample) => void,
): Promise<SoakReport> {
  const subject = kind === 'embedded' ? embeddedSubject() : qemuSubject();
  const pair = await FaultPair.start(kind, 'auto');
  const samples: SoakSample[] = [];
  const violations: string[] = [];
  const every = Math.max(1, Math.floor(migrations / SAMPLES));
  let node: NodeName = 'a';
  try {
    await subject.boot(pair, node, 'traveller');
    for (let done = 1; done <= migrations; done += 1) {
      const to = otherNode(node);
      const { outcome, error } = await pair.lab.migrate('traveller', node, to, { maxRounds: 2 });
      if (outcome !== 'completed' || error) throw new Error(`migration ${done}: ${JSON.stringify(error)}`);
      node = to;
      for (const each of NODES) pair.agent(each).log.length = 0;
      if (done % every !== 0) continue;
      // The other side is told a moment later.
      violations.push(...(await eventually(QUIET_LIMIT_MS, () => idle(pair))));
      const sample = { migrations: done, figures: await figuresOf(pair) };
      samples.push(sample);
      onSample(sample);
    }
    violations.push(...(await subject.defects(pair, node, 'traveller')));
    await pair.client(node).changeGuest('traveller', 'stop');
    await pair.client(node).undefineGuest('traveller');
    violations.push(...(await eventually(QUIET_LIMIT_MS, () => pair.remains())));
  } catch (error) {
    violations.push(String(error));
  } finally {
    await pair.close();
  }
  return { samples, violations: [...violations, ...growth(samples)] };
}

/**
 * The least of the second quarter of the samples and of the last: the first is when caches fill. What waits for the next garbage
 * collection comes and goes, what is kept is there in all of them.
 */
export function growth(samples: readonly SoakSample[]): string[] {
  const quarter = Math.floor(samples.length / 4);
  if (quarter === 0) return [];
  const names = Object.keys(samples[0]!.figures);
  return names.flatMap((name) => {
    const of = (part: readonly SoakSample[]) => Math.min(...part.map(({ figures }) => figures[name] ?? 0));
    const early = of(samples.slice(quarter, 2 * quarter));
    const late = of(samples.slice(-quarter));
    const [, quantity = ''] = name.split(': ');
    const { share, more } = TOLERANCE[quantity]!;
    if (late <= early * (1 + share) + more) return [];
    return [`${name} grew from ${early.toFixed(1)} to ${late.toFixed(1)}`];
  });
}

async function idle(pair: FaultPair): Promise<string[]> {
  const open = pair.link.connections.size;
  const queues = await Promise.all(NODES.map((node) => pair.client(node).queue()));
  return [
    ...(open > 0 ? [`${open} connections are open`] : []),
    ...queues.flat().map(({ migration }) => migration),
  ];
}

async function figuresOf(pair: FaultPair): Promise<Record<string, number>> {
  const figures: Record<string, number> = {};
  for (const node of NODES) await addProcess(figures, `agent ${node}`, pair.agent(node).process.pid!);
  if (!pair.qemu) return figures;
  let tmpfs = 0;
  for (const node of NODES) {
    for (const pid of pair.qemu.qemus(node)) await addProcess(figures, 'QEMU', pid);
    const directory = pair.qemu.memoryDirectory(node);
    for (const file of await readdir(directory)) tmpfs += (await stat(join(directory, file))).blocks * 512;
  }
  figures['guests: tmpfs MiB'] = tmpfs / MIB;
  return figures;
}

async function addProcess(figures: Record<string, number>, name: string, pid: number): Promise<void> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1');
  const value = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
  figures[`${name}: resident MiB`] = value('VmRSS') / 1024;
  figures[`${name}: threads`] = value('Threads');
  figures[`${name}: descriptors`] = openFiles(pid).length;
}
