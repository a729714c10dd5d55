import type { Argv } from 'yargs';
import { onlyWith } from './option-needs.js';
import type { GlobalOptions, Run } from './session.js';

const text = { type: 'string', requiresArg: true } as const;
const number = { type: 'number', requiresArg: true } as const;

/** What makes a scenario without a file; the defaults are those of `vmferry simulate` alone. */
const QUICK = {
  nodes: 16,
  link: '10gbit',
  guests: 8,
  memory: '8GiB',
  writes: '1GiB@100MB',
  moves: 'drain:4',
} as const;

/** `vmferry simulate`: what moves of many guests would take, without moving any. Asks no agent. */
export function simulateCommand(yargs: Argv<GlobalOptions>, run: Run): Argv<GlobalOptions> {
  return yargs.command(
    'simulate [file]',
    'work out what moves in a cluster would take: one at a time per pair, and several at once per node',
    (command) =>
      command
        .positional('file', {
          type: 'string',
          describe: 'file with a scenario, YAML or JSON; without one, the options make it',
        })
        .option('nodes', { ...number, describe: 'number of nodes', defaultDescription: String(QUICK.nodes) })
        .option('link', {
          ...text,
          describe: "rate of each node's link, in each direction",
          defaultDescription: QUICK.link,
        })
        .option('guests', {
          ...number,
          describe: 'number of guests (VMs) on each node',
          defaultDescription: String(QUICK.guests),
        })
        .option('memory', {
          ...text,
          describe: 'memory of each guest, all of it in use',
          defaultDescription: QUICK.memory,
        })
        .option('writes', {
          ...text,
          describe:
            'what each guest writes: SIZE@RATE, so much memory so fast, at random or, with +in-turn behind it, page after page; or none',
          defaultDescription: QUICK.writes,
        })
        .option('moves', {
          ...text,
          describe:
            'what moves: drain:NODES (so many are emptied), rolling:NODES (all are, so many at a time) or pairs:GUESTS (so many guests, between nodes at random)',
          defaultDescription: QUICK.moves,
        })
        .option('at-once', {
          ...text,
          describe: 'migrations at once per node to compare with, several numbers with commas',
          defaultDescription: '2,4,8',
        })
        .option('seed', {
          ...number,
          describe: 'number from which all that is random is made',
          defaultDescription: '1',
        })
        .option('sweep', {
          ...text,
          describe: 'also with guests that write at these fractions of the rate of a link, like 0,0.25,0.5',
        })
        .option('plot', { ...text, describe: 'write a page with plots to this file' })
        .option('check', {
          ...text,
          array: true,
          describe: 'compare the model with these results of bench migrate or concurrent (--out FILE)',
        })
        .option('within', {
          ...number,
          describe: 'with --check: percent that the model may be off',
          defaultDescription: '15',
        })
        .conflicts({
          file: ['nodes', 'link', 'guests', 'memory', 'writes', 'moves', 'check'],
          check: ['nodes', 'link', 'guests', 'memory', 'writes', 'moves', 'at-once', 'seed', 'sweep', 'plot'],
        })
        .example('$0 simulate --plot drain.html', 'drain 4 of 16 nodes, drawn as a page')
        .example('$0 simulate --nodes 10000 --moves pairs:20000 --at-once 2', 'a large cluster')
        .example('$0 simulate cluster.yaml --sweep 0,0.5,1 --json', 'a scenario of your own')
        .example(
          '$0 simulate --check results.json',
          'the model beside what was measured; more files may follow',
        ),
    async (args) => {
      await run(args, async ({ output }) => {
        onlyWith('--within', args.within, '--check', args.check);
        // loaded here alone: no other command needs it
        const { runCheck, runSimulation } = await import('../simulate/run-simulate.js');
        if (args.check !== undefined) return await runCheck(args.check, args.within ?? 15, output);
        const { nodes, link, guests, memory, writes, moves } = args;
        const given = { nodes, link, guests, memory, writes, moves };
        const quick = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
        const { file, seed, atOnce, sweep, plot } = args;
        return await runSimulation(
          { file, quick: { ...QUICK, ...quick }, seed, atOnce, sweep, plot },
          output,
        );
      });
    },
  );
}
