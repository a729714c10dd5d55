import type { ArgumentsCamelCase, Argv } from 'yargs';
import type { GlobalOptions, Run, Session } from './session.js';
import type { ExitCode } from './exit-code.js';

/** One benchmark as a command. */
export interface BenchCommand<Args extends GlobalOptions> {
  readonly name: string;
  readonly describe: string;
  readonly options: (command: Argv<GlobalOptions>) => Argv<Args>;
  readonly run: (args: ArgumentsCamelCase<Args>, session: Session) => Promise<ExitCode>;
}

/** `vmferry bench …`: what a link and migrations over it can do, measured. */
export function benchCommand(yargs: Argv<GlobalOptions>, run: Run): Argv<GlobalOptions> {
  return yargs.command('bench', 'measure links and migrations beside iperf3 and QEMU', async (bench) => {
    // loaded here alone: no other command needs the code of the benchmarks
    const { compareBench } = await import('../bench/compare-bench.js');
    const { concurrentBench } = await import('../bench/concurrent-bench.js');
    const { linkBench } = await import('../bench/link-bench.js');
    const { migrateBench } = await import('../bench/migrate-bench.js');
    const { scaleBench } = await import('../bench/scale-bench.js');
    add(bench, run, linkBench);
    add(bench, run, migrateBench);
    add(bench, run, compareBench);
    add(bench, run, concurrentBench);
    add(bench, run, scaleBench);
    return bench.demandCommand(1, 'say which: link, migrate, compare, concurrent, scale');
  });
}

function add<Args extends GlobalOptions>(
  bench: Argv<GlobalOptions>,
  run: Run,
  { name, describe, options, run: measure }: BenchCommand<Args>,
): void {
  bench.command(name, describe, options, async (args) => {
    await run(args, async (session) => await measure(args, session));
  });
}
