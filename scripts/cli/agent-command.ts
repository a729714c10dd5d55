import type { Argv } from 'yargs';
import { EXIT } from '../../shared/api.js';
import type { ExitCode } from './exit-code.js';
import type { GlobalOptions } from './session.js';

/** The daemon itself: it logs on its own, and nothing of it is a result to print. */
export function agentCommand(
  yargs: Argv<GlobalOptions>,
  exitWith: (code: ExitCode) => void,
): Argv<GlobalOptions> {
  return yargs.command(
    'agent',
    'run the agent of this host',
    (command) =>
      command
        .option('config', {
          type: 'string',
          demandOption: true,
          requiresArg: true,
          describe: 'its configuration (YAML)',
        })
        .example('$0 agent --config /etc/vmferry/agent.yaml', 'run until SIGTERM or SIGINT'),
    async ({ config }) => {
      // loaded here alone: no other command needs the agent's code
      const { runAgent } = await import('../../agent/main.js');
      exitWith((await runAgent(config)) === 0 ? EXIT.done : EXIT.failed);
    },
  );
}
