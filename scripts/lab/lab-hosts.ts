import { parseArgs } from 'node:util';
import { EXIT } from '../../shared/api.js';
import { parseRate } from '../../shared/units.js';
import { ALLOW_ALL_FILES, startAgents } from './agent-process.js';
import { LabNetwork } from './lab-network.js';
import { RunFolders } from './run-folders.js';

/** Two hosts on this machine with an agent each, until Ctrl-C: see ./scripts/lab/lab-hosts --help. */

const HELP = `./scripts/lab/lab-hosts [--link 1gbit]

Makes two hosts on this machine, network namespaces joined by a link of that rate, with an agent on each; prints where they are,
and removes all of it at its end (Ctrl-C). Needs root.
`;

try {
  const { values } = parseArgs({
    options: { link: { type: 'string', default: 'none' }, help: { type: 'boolean', default: false } },
  });
  if (values.help) process.stdout.write(HELP);
  else await runLab(values.link === 'none' ? null : parseRate(values.link));
} catch (error) {
  process.stderr.write(`lab-hosts: ${(error as Error).message}\n`);
  process.exitCode = EXIT.failed;
}

async function runLab(bytesPerSecond: number | null): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
  const folders = new RunFolders('lab-hosts');
  let network: LabNetwork | undefined;
  try {
    network = await LabNetwork.create(['a', 'b'], bytesPerSecond);
    const settings = { qemu: { memoryDirectory: folders.memory, allow: ALLOW_ALL_FILES } };
    for (const { node, url } of await startAgents(['a', 'b'], folders.files, settings, network.placeOf)) {
      const launcher = network.launcher(node).join(' ');
      process.stdout.write(
        `node ${node}: --agent ${url}; ${network.linkAddress(node)} on the link; a program runs there by '${launcher} PROGRAM'\n`,
      );
    }
    await ended;
  } finally {
    network?.remove();
    folders.removeNow();
  }
}
