import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type {
  BenchSetting,
  ConcurrentReport,
  LinkReport,
  MoveReport,
  MoveSeries,
  ScaleReport,
} from '../../../scripts/bench/bench-report.js';
import { labNamespaces } from '../../../scripts/lab/network-namespaces.js';
import { vmferry } from '../../support/agent-lab.js';

/** No agent is asked but those that the benchmark starts. */
const NO_AGENT = 'http://127.0.0.1:1';

interface Reports {
  migrate: MoveReport;
  compare: MoveReport;
  concurrent: ConcurrentReport;
  scale: ScaleReport;
  link: LinkReport;
}

/** Runs `vmferry bench ...` with --json, and checks what all reports have in common and that nothing of it is left. */
export async function benchReport<Bench extends keyof Reports>(
  t: Test,
  bench: Bench,
  ...options: string[]
): Promise<Reports[Bench]> {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-smoke-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const files = ['--out', join(directory, 'out.json'), '--report', join(directory, 'report.html')];
  const { child, ended } = vmferry(NO_AGENT, ['bench', bench, '--json', ...files, ...options]);
  const { exitCode, stdout, stderr } = await ended;
  t.equal(exitCode, 0, stderr);
  const report = JSON.parse(stdout) as Reports[Bench];
  t.same(
    JSON.parse(await readFile(join(directory, 'out.json'), 'utf8')),
    report,
    '--out has the same document',
  );
  t.match(await readFile(join(directory, 'report.html'), 'utf8'), /^<!doctype html>/i);
  t.equal(report.bench, bench);
  checkSetting(t, report);
  t.same(await remains(child.pid!), [], 'nothing of it is left');
  return report;
}

function checkSetting(t: Test, { startedAt, command, host, link, options }: BenchSetting): void {
  t.ok(Date.parse(startedAt) <= Date.now());
  t.match(command, /^vmferry bench /);
  t.match(host, { processor: String, processors: Number, memoryBytes: Number, kernel: String });
  t.match(host.versions, { node: /^v\d/, vmferry: String });
  t.equal(link.agents.length, 2);
  t.match(options, { runs: 1 });
}

/** Namespaces and folders that a benchmark with that process id has left. */
export async function remains(pid: number): Promise<string[]> {
  const id = pid.toString(36);
  const folders = [...(await readdir(tmpdir())), ...(await readdir('/dev/shm'))];
  return [
    ...labNamespaces().filter((name) => name.includes(`-${id}-`)),
    ...folders.filter((name) => name.startsWith(`vmferry-bench-${pid}-`)),
  ];
}

/** Moves that are complete and make sense. `leastBytes`: of memory that each of them carries at least. */
export function checkMoves(t: Test, { mover, workload, runs }: MoveSeries, leastBytes: number): void {
  const what = `${mover}, ${workload}`;
  t.equal(runs.length, 1, `${what}: every run counted`);
  for (const move of runs) {
    t.ok(move.populatedBytes >= leastBytes, `${what}: ${move.populatedBytes} bytes populated`);
    t.ok(move.wireBytes >= leastBytes, `${what}: ${move.wireBytes} bytes sent`);
    t.ok(move.downtimeMs > 0, `${what}: it stood still`);
    t.ok(move.copyMs > move.downtimeMs && move.totalMs >= move.copyMs, `${what}: ${JSON.stringify(move)}`);
    t.ok(Math.abs(move.stoppedAfterMs + move.downtimeMs - move.totalMs) < 1, `${what}: the parts add up`);
    t.ok(move.roundCount >= 1 && move.convergence !== '', what);
    t.ok(move.cpuMs.source > 0 && move.cpuMs.target > 0, what);
    t.ok(move.intact || mover !== 'vmferry', `${what}: the guest goes on`);
  }
}
