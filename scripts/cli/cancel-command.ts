import type { Argv } from 'yargs';
import { EXIT } from '../../shared/api.js';
import { counted } from '../../shared/units.js';
import { answeringNode, ClusterAccess } from './cluster-access.js';
import type { ExitCode } from './exit-code.js';
import { checkedMigrationId } from './migration-id.js';
import { eitherOr } from './placement/move-session.js';
import { cancelWaiting } from './placement/run-moves.js';
import type { GlobalOptions, Run, Session } from './session.js';

/** `vmferry cancel`: one migration, or all that wait to leave a node. */
export function cancelCommand(yargs: Argv<GlobalOptions>, run: Run): Argv<GlobalOptions> {
  return yargs.command(
    'cancel [id]',
    'cancel a migration; its VM stays where it is',
    (command) =>
      command
        .positional('id', { type: 'string', describe: "the migration's id" })
        .option('all-from', {
          type: 'string',
          requiresArg: true,
          describe: 'instead of one: cancel all that wait to leave this node; one that runs already goes on',
        })
        .example('$0 cancel m-1a2b3c4d5e6f', 'status and queue show ids')
        .example('$0 cancel --all-from a', 'what a drain of node a has left in the queue'),
    async (args) => {
      const { id, allFrom } = args;
      await run({ ...args, subject: { migration: id } }, async (session) => {
        eitherOr(id, allFrom, 'cancel m-1a2b3c4d5e6f', 'cancel --all-from a');
        if (allFrom !== undefined) return await cancelAll(session, allFrom);
        const { client, output } = session;
        const migration = await client.cancelMigration(checkedMigrationId(id!));
        output.result(
          migration,
          () => `migration ${migration.id} is cancelled: ${migration.vm} is on ${migration.from} as before`,
        );
        return EXIT.done;
      });
    },
  );
}

async function cancelAll({ client, output }: Session, node: string): Promise<ExitCode> {
  const access = new ClusterAccess(client);
  const report = await access.look();
  answeringNode(report, node);
  const waiting = report.queue.filter(({ from, state }) => from === node && state === 'waiting');
  const cancelled: string[] = [];
  for (const { migration } of waiting) {
    if (await cancelWaiting(access, node, migration)) cancelled.push(migration);
  }
  const left = report.queue.filter(({ from, migration }) => from === node && !cancelled.includes(migration));
  const stay = `${counted(cancelled.length, 'VM')} ${cancelled.length === 1 ? 'stays' : 'stay'} on ${node}`;
  output.result(cancelled, () =>
    [
      waiting.length === 0
        ? `no migration waits to leave ${node}`
        : `cancelled: ${cancelled.length} of ${waiting.length} that waited; ${stay}`,
      ...left.map(
        ({ migration, vm, to }) =>
          `${migration} of ${vm} to ${to} runs and goes on: 'vmferry cancel ${migration}'`,
      ),
    ].join('\n'),
  );
  return EXIT.done;
}
