import type { Argv } from 'yargs';
import { type DoctorReport, EXIT } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import type { AgentClient } from '../../client/agent-client.js';
import { findingLines } from './finding-lines.js';
import type { GlobalOptions, Run } from './session.js';

/** `vmferry doctor`: how fit a node is, or two of them for migrations between them. */
export function doctorCommand(yargs: Argv<GlobalOptions>, run: Run): Argv<GlobalOptions> {
  return yargs.command(
    'doctor',
    'check a node: QEMU, kernel, memory, privileges; a remedy for each finding',
    (command) =>
      command
        .option('to', {
          type: 'string',
          requiresArg: true,
          describe: 'another node, which is checked as well',
        })
        .example('$0 doctor', 'this node')
        .example('$0 doctor --to b --json', 'this node and node b, for scripts'),
    async (args) => {
      await run(args, async ({ client, output }) => {
        const reports = [await client.doctor()];
        if (args.to !== undefined) reports.push(await client.other(await peerUrl(client, args.to)).doctor());
        output.result(reports, () => reports.map(reportText).join('\n\n'));
        return reports.every(({ ok }) => ok) ? EXIT.done : EXIT.refused;
      });
    },
  );
}

async function peerUrl(client: AgentClient, name: string): Promise<string> {
  const { node } = await client.status();
  const peer = node.peers.find((candidate) => candidate.node === name);
  if (peer) return peer.url;
  const known = node.peers.map((candidate) => candidate.node).join(', ');
  throw new MigrationError(
    'unknown-node',
    `node ${name} is not known to node ${node.node}: add it to 'peers' there (known: ${known === '' ? 'none' : known})`,
  );
}

function reportText({ node, ok, findings }: DoctorReport): string {
  const verdict = ok
    ? `node ${node} can run and move VMs`
    : `node ${node} is not fit for VMs: see the refusals`;
  return [`node ${node}`, ...findingLines(findings), verdict].join('\n');
}
