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
        .positional('file', { type: 'string', describe: 'scenario, YAML or JSON; or the options below' })
        .option('nodes', { ...number, describe: `nodes (${QUICK.nodes})` })
        .option('link', { ...text, describe: `rate of each node's link, in each direction (${QUICK.link})` })
        .option('guests', { ...number, describe: `guests on each node (${QUICK.guests})` })
        .option('memory', { ...text, describe: `of each guest, all of it in use (${QUICK.memory})` })
        .option('writes', {
          ...text,
          describe: `working sets of each guest: SET@RATE, in-turn with +in-turn; or none (${QUICK.writes})`,
        })
        .option('moves', {
          ...text,
          describe: `drain:NODES, rolling:NODES at a time, or pairs:GUESTS (${QUICK.moves})`,
        })
        .option('at-once', {
          ...text,
          describe: 'migrations at once per node, several numbers with commas (2,4,8)',
        })
        .option('seed', { ...number, describe: 'what is random depends on it alone (1)' })
        .option('sweep', {
          ...text,
          describe: 'also with guests that write at these parts of the rate of a link: 0,0.25,0.5',
        })
        .option('plot', { ...text, describe: 'write a page with plots to this file' })
        .option('check', {
          ...text,
          array: true,
          describe: 'results of bench migrate or concurrent (--out FILE), to compare the model with',
        })
        .option('within', { ...number, describe: 'per cent that the model may be off with --check (15)' })
        .conflicts({
          file: ['nodes', 'link', 'guests', 'memory', 'writes', 'moves', 'check'],
          check: ['nodes', 'link', 'guests', 'memory', 'writes', 'moves', 'at-once', 'seed', 'sweep', 'plot'],
        })
        .example('$0 simulate --plot drain.html', 'drain 4 of 16 nodes; when one at a time is right')
        .example('$0 simulate --nodes 10000 --moves pairs:20000 --at-once 2', 'a large cluster')
        .example('$0 simulate cluster.yaml --sweep 0,0.5,1 --json', 'a scenario of your own')
        .example(
          '$0 simulate --check results.json',
          'the model beside what was measured; several files, too',
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
