import type { Argv } from 'yargs';
import {
  type ClusterNode,
  type ClusterQueueEntry,
  type ClusterReport,
  EXIT,
  type QueueEntry,
} from '../../shared/api.js';
import { formatBytes, formatEstimate } from '../../shared/units.js';
import type { GlobalOptions, Run } from './session.js';
import { type Column, formatTable } from './table.js';

/** The whole cluster, as any agent shows it: `nodes`, `queue`. */
export function clusterCommands(yargs: Argv<GlobalOptions>, run: Run): Argv<GlobalOptions> {
  return yargs
    .command(
      'nodes',
      'show all nodes: their memory and VMs, which are drained, which do not answer',
      (command) =>
        command
          .example('$0 nodes', 'any agent can be asked')
          .example("$0 nodes --json | jq -r '.[] | select(.error) | .node'", 'only those that do not answer'),
      async (args) => {
        await run(args, async ({ client, output }) => {
          const report = await client.cluster(true);
          output.result(report.nodes, () => nodeTable(report));
          return report.nodes.every(({ error }) => error === null) ? EXIT.done : EXIT.failed;
        });
      },
    )
    .command(
      'queue',
      'show the migrations that run and wait in the whole cluster',
      (command) =>
        command
          .option('local', {
            type: 'boolean',
            describe: 'only those of the node that is asked, as it sees them',
          })
          .example('$0 queue', 'places in the queue, who waits for whom, when each may begin')
          .example('$0 queue --local --json', 'the queue of one node, for scripts'),
      async (args) => {
        await run(args, async ({ client, output }) => {
          if (args.local === true) {
            const entries = await client.queue();
            output.result(entries, () => localQueueText(entries));
            return EXIT.done;
          }
          const report = await client.cluster(true);
          output.result(report.queue, () => queueText(report));
          for (const { node, error } of report.nodes) {
            if (error) output.remark(`without the queue of node ${node}: ${error.message}`);
          }
          return EXIT.done;
        });
      },
    );
}

function nodeTable({ nodes, queue }: ClusterReport): string {
  const table = formatTable(
    [
      { heading: 'node' },
      { heading: 'state' },
      { heading: 'memory', figures: true },
      { heading: 'in use', figures: true },
      { heading: 'full', figures: true },
      { heading: 'started', figures: true },
      { heading: 'stopped', figures: true },
      { heading: 'moves', figures: true },
      { heading: 'waiting', figures: true },
      { heading: 'version' },
    ],
    nodes.map((node) => [node.node, ...nodeCells(node, queue)]),
  );
  const errors = nodes.flatMap(({ node, error }) =>
    error ? [`${node}: ${error.message} (${error.code})`] : [],
  );
  return [table, ...errors].join('\n');
}

function nodeCells({ node, status }: ClusterNode, queue: readonly ClusterQueueEntry[]): string[] {
  if (!status) return ['no answer'];
  const { memoryUsedBytes, memoryLimitBytes, drained, version } = status.node;
  const stopped = status.guests.filter((guest) => guest.status === 'stopped').length;
  const own = queue.filter(({ from, to }) => from === node || to === node);
  const count = (state: 'running' | 'waiting') => String(own.filter((entry) => entry.state === state).length);
  return [
    drained ? 'drained' : 'in use',
    formatBytes(memoryLimitBytes),
    formatBytes(memoryUsedBytes),
    `${Math.round((100 * memoryUsedBytes) / memoryLimitBytes)} %`,
    String(status.guests.length - stopped),
    String(stopped),
    count('running'),
    count('waiting'),
    version,
  ];
}

function queueText({ queue, nodes, at }: ClusterReport): string {
  if (queue.length === 0) {
    return nodes.length === 1
      ? 'no migration runs or waits at this node'
      : `no migration runs or waits on ${nodes.length} nodes`;
  }
  return queueTable(
    queue,
    { heading: 'place' },
    ({ positions }) =>
      [...positions]
        .sort((a, b) => (a.node < b.node ? -1 : 1))
        .map(({ node, position }) => `${node} ${position}`)
        .join(', '),
    [
      [{ heading: 'priority', figures: true }, ({ priority }) => String(priority)],
      [{ heading: 'may begin' }, ({ expectedStart, state }) => startText(expectedStart, state, at)],
    ],
  );
}

function startText(expectedStart: string | null, state: QueueEntry['state'], at: string): string {
  if (state === 'running') return '';
  if (expectedStart === null) return 'not known';
  const ms = Date.parse(expectedStart) - Date.parse(at);
  // It is the least that those before it take: what a guest writes meanwhile, its switchover and a comparison come on top.
  return ms < 1000 ? 'soon' : `in about ${formatEstimate(ms)}, or later`;
}

function localQueueText(entries: readonly QueueEntry[]): string {
  if (entries.length === 0) return 'no migration runs or waits at this node';
  return queueTable(entries, { heading: 'place', figures: true }, ({ position }) => String(position), []);
}

type QueueRow = Omit<QueueEntry, 'position'>;

function queueTable<Entry extends QueueRow>(
  entries: readonly Entry[],
  place: Column,
  placeOf: (entry: Entry) => string,
  more: readonly (readonly [Column, (entry: Entry) => string])[],
): string {
  return formatTable(
    [
      place,
      { heading: 'migration' },
      { heading: 'vm' },
      { heading: 'from' },
      { heading: 'to' },
      { heading: 'waits for' },
      { heading: 'overtaken', figures: true },
      ...more.map(([column]) => column),
    ],
    entries.map((entry) => [
      placeOf(entry),
      entry.migration,
      entry.vm,
      entry.from,
      entry.to,
      waitText(entry),
      `${entry.overtaken} of ${entry.overtakeLimit}`,
      ...more.map(([, cell]) => cell(entry)),
    ]),
  );
}

function waitText({ state, waitsFor }: QueueRow): string {
  if (state === 'running') return '(running)';
  return waitsFor.map(({ node, holder }) => (holder === null ? node : `${node} (${holder})`)).join(', ');
}
