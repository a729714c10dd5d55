import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Argv } from 'yargs';
import { EXIT } from '../../shared/api.js';
import type { PreflightFinding } from '../../shared/protocol/messages.js';
import { expiryFinding } from '../../shared/tls/certificate-expiry.js';
import { items } from '../bench/bench-options.js';
import { doctorReport } from '../doctor/doctor-report.js';
import { doctorText } from '../doctor/doctor-text.js';
import { examineCluster } from '../doctor/examine-cluster.js';
import { measureLinks } from '../doctor/measure-links.js';
import type { GlobalOptions, Run } from './session.js';

/** `vmferry doctor`: how fit the nodes of a cluster are, each by itself and in pairs. */
export function doctorCommand(yargs: Argv<GlobalOptions>, run: Run): Argv<GlobalOptions> {
  return yargs.command(
    'doctor [nodes]',
    'check all nodes and the connections between them; each finding comes with a remedy',
    (command) =>
      command
        .positional('nodes', {
          type: 'string',
          describe:
            'check only these, with commas between them, and the pairs of them; if none is named, all that the agent knows',
        })
        .option('link', {
          type: 'boolean',
          default: false,
          describe:
            'measure how fast memory gets from each node to each other: up to 96 MiB and 5 s each, one after the other; pairs with a busy node are left out',
        })
        .option('verbose', { type: 'boolean', default: false, describe: 'show what is in order, too' })
        .example('$0 doctor', 'all nodes; sends next to nothing and changes nothing')
        .example('$0 doctor a,b --link', 'two nodes, and how fast the link between them is')
        .example("$0 doctor --json | jq '.nodes[] | select(.ok | not).node'", 'nodes that are not fit'),
    async (args) => {
      await run(args, async ({ client, output }) => {
        const examined = await examineCluster(
          client,
          args.nodes === undefined ? [] : items('nodes', args.nodes),
        );
        const links = args.link ? await measureLinks(examined.nodes, (line) => output.progress(line)) : null;
        const report = doctorReport({ ...examined, links }, new Date(), ownFindings(args.certificate));
        output.result(report, () => doctorText(report, args.verbose));
        return report.ok ? EXIT.done : EXIT.refused;
      });
    },
  );
}

/** About the certificate of whoever asks, which has let him in just now. */
function ownFindings(file: string | undefined): PreflightFinding[] {
  if (file === undefined) return [];
  try {
    const { validTo } = new X509Certificate(readFileSync(file));
    const finding = expiryFinding(`your certificate ${file}`, new Date(validTo), 'have it renewed');
    return finding.level === 'ok' ? [] : [finding];
  } catch {
    // Where it is not needed, nobody has looked at it yet.
    return [];
  }
}
