import type { Argv } from 'yargs';
import { EXIT, type NodeInfo } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { answeringNode, ClusterAccess } from './cluster-access.js';
import { givenMigrationOptions, type MigrationArguments, migrationOptions } from './migration-options.js';
import { evacuate } from './placement/evacuate.js';
import { onFailureOption } from './placement/move-session.js';
import { rebalance } from './placement/rebalance.js';
import type { GlobalOptions, Run } from './session.js';

/** Many VMs at once, by the memory that nodes have free: `drain`, `undrain`, `evacuate`, `rebalance`. */
export function drainCommands(yargs: Argv<GlobalOptions>, run: Run): Argv<GlobalOptions> {
  return yargs
    .command(
      'drain <nodes>',
      'move all VMs away from nodes and let none come, for maintenance',
      (command) =>
        leaving(command)
          .example('$0 drain a --dry-run', 'which VM would go where, and why')
          .example('$0 drain a', 'empty node a; when it ends with 0 nothing runs there')
          .example('$0 drain a,b', 'empty both; no VM goes from one to the other')
          .example('$0 drain a --on-failure continue', 'go on past VMs that fail or have nowhere to go')
          .example('$0 drain a && ssh a systemctl reboot', 'then, when it is back: vmferry undrain a'),
      async (args) => {
        await run(args, (session) => evacuate(session, { ...leavingOptions('drain', args), drain: true }));
      },
    )
    .command(
      'undrain <nodes>',
      'let VMs come to nodes again',
      (command) =>
        command
          .positional('nodes', nodesPositional)
          .example('$0 undrain a', 'node a takes VMs again; rebalance brings it some'),
      async (args) => {
        await run(args, async ({ client, output }) => {
          const access = new ClusterAccess(client);
          const nodes = nodesOf(args);
          const report = await access.look();
          for (const node of nodes) answeringNode(report, node);
          const infos: NodeInfo[] = [];
          for (const node of nodes) {
            infos.push(await access.at(node, (agent) => agent.setDrained(false)));
          }
          output.result(infos, () => nodes.map((node) => `node ${node} takes VMs again`).join('\n'));
          return EXIT.done;
        });
      },
    )
    .command(
      'evacuate <nodes>',
      'move all VMs away from nodes; other VMs may still come to them',
      (command) =>
        leaving(command)
          .example('$0 evacuate a --dry-run', 'which VM would go where, and why')
          .example('$0 evacuate a', 'empty node a, or go on with that after an interruption'),
      async (args) => {
        await run(args, (session) =>
          evacuate(session, { ...leavingOptions('evacuate', args), drain: false }),
        );
      },
    )
    .command(
      'rebalance',
      'move a few VMs so that nodes are about equally full',
      (command) =>
        migrationOptions(
          severalMoves(command).option('tolerance', {
            type: 'number',
            default: 10,
            requiresArg: true,
            describe: "percent of its memory by which a node may differ from the cluster's average",
          }),
        )
          .example('$0 rebalance --dry-run', 'how full nodes are, and what would be moved')
          .example('$0 rebalance --tolerance 5', 'closer to equal, with more moves'),
      async (args) => {
        const { dryRun = false, detach = false, onFailure = 'stop', tolerance } = args;
        await run(args, (session) =>
          rebalance(session, { dryRun, detach, onFailure, tolerance, request: givenMigrationOptions(args) }),
        );
      },
    );
}

function severalMoves<Args>(command: Argv<Args>) {
  return command
    .option('dry-run', { type: 'boolean', describe: 'only show the plan; change nothing' })
    .option('on-failure', onFailureOption)
    .option('detach', { type: 'boolean', describe: 'ask for the moves, and do not wait for their end' })
    .conflicts('dry-run', 'detach');
}

function leaving<Args>(command: Argv<Args>) {
  return migrationOptions(severalMoves(command)).positional('nodes', nodesPositional);
}

// An array of positionals would be its last one: of two options the last wins.
const nodesPositional = {
  type: 'string',
  demandOption: true,
  describe: 'a name, or several with commas between them',
} as const;

/** Each once. Throws invalid-request where there is none. */
function nodesOf({ nodes }: { nodes: string }): string[] {
  const names = nodes.split(',').filter((name) => name !== '');
  if (names.length > 0) return [...new Set(names)];
  throw new MigrationError('invalid-request', "no node is named: write them like 'a' or 'a,b'");
}

interface LeavingArguments extends MigrationArguments {
  nodes: string;
  dryRun?: boolean | undefined;
  detach?: boolean | undefined;
  onFailure?: 'stop' | 'continue' | undefined;
}

function leavingOptions(name: string, args: LeavingArguments) {
  const { dryRun = false, detach = false, onFailure = 'stop' } = args;
  const nodes = nodesOf(args);
  const command = `vmferry ${name} ${nodes.join(',')}`;
  return { nodes, dryRun, detach, onFailure, command, to: null, request: givenMigrationOptions(args) };
}
